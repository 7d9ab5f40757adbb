// The dashboards in the chart are what dashboards/generate.mjs writes, Grafana's own types take them,
// and they keep to what people expect of them.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import test from "node:test";
import { DIRECTORY, dashboards, text } from "../../dashboards/generate.mjs";
import { complaints } from "../../dashboards/schema.mjs";
import { described } from "../../scripts/pictures/draw.mjs";
import { PICTURES, panelOf } from "../../scripts/pictures/panels.mjs";

const kept = await Promise.all((await readdir(DIRECTORY)).sort().map(async (file) => [file, await readFile(new URL(file, DIRECTORY), "utf8")]));
const all = kept.map(([file, json]) => [file, JSON.parse(json)]);

test("the chart has what the generator writes", () => {
  assert.deepEqual(Object.keys(dashboards).sort(), kept.map(([file]) => file));
  for (const [file, json] of kept) {
    assert.equal(json, text(dashboards[file]), `${file} is out of date: node dashboards/generate.mjs`);
  }
});

for (const [file, dashboard] of all) {
  test(`Grafana's schema takes ${file}`, () => assert.deepEqual(complaints(dashboard), []));

  test(`${file}: every panel says what is good, and in which unit`, () => {
    const panels = dashboard.panels.filter(({ type }) => type !== "row");
    assert.ok(panels.length > 8);
    for (const { title, description, fieldConfig, targets, datasource } of panels) {
      assert.match(description, /[Gg]ood|a second/, title);
      assert.ok(fieldConfig.defaults.unit, title);
      assert.ok(targets.length > 0, title);
      for (const one of [datasource, ...targets.map((target) => target.datasource)]) assert.equal(one.uid, "${datasource}", title);
    }
    const ids = dashboard.panels.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, "numbers are there once");
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length, "titles are there once");
  });

  test(`${file}: every query takes what was chosen`, () => {
    const variables = dashboard.templating.list.map(({ name }) => name);
    for (const wanted of ["datasource", "namespace", "service", "pod"]) assert.ok(variables.includes(wanted));
    for (const { title, targets } of dashboard.panels.filter(({ type }) => type !== "row")) {
      for (const { expr } of targets) {
        const selectors = expr.match(/\b(rookery|process)_[a-z_]+/g);
        const narrowed = expr.match(/\{namespace=~"\$\{namespace\}",pod=~"\$\{service\}[^"]*",pod=~"\$\{pod\}"/g);
        assert.equal(narrowed?.length, selectors.length, `${title}: ${expr}`);
        for (const [, name] of expr.matchAll(/\$\{?([a-z_]+)/g)) {
          assert.ok(variables.includes(name) || name.startsWith("__"), `${title} asks for $${name}`);
        }
      }
    }
  });
}

/** A dashboard with one thing changed in the first panel of a kind. */
function changed(kind, change) {
  const dashboard = structuredClone(all.map(([, one]) => one).find(({ panels }) => panels.some(({ type }) => type === kind)));
  change(dashboard.panels.find(({ type }) => type === kind), dashboard);
  return complaints(dashboard);
}

for (const [what, kind, change, says] of [
  ["a field that a dashboard has not", "stat", (_, dashboard) => (dashboard.refreshEvery = "30s"), /the dashboard: .*\brefreshEvery\b/],
  ["a field that a panel has not", "stat", (panel) => (panel.titel = "Connections"), /panel Connections: .*\btitel\b/],
  ["a row without its state", "row", (row) => delete row.collapsed, /panel Now: .*\bcollapsed\b/],
  ["a field that a query has not", "timeseries", (panel) => (panel.targets[0].expression = "1"), /\bexpression\b/],
  ["a query without an expression", "timeseries", (panel) => delete panel.targets[0].expr, /\bexpr\b/],
  ["a format that there is not", "table", (panel) => (panel.targets[0].format = "tabel"), /"tabel"/],
  ["an option that a kind of panel has not", "stat", (panel) => (panel.options.graphStyle = "area"), /\bgraphStyle\b/],
  ["a value that an option has not", "stat", (panel) => (panel.options.graphMode = "graph"), /"graph"/],
  ["a setting that lines have not", "timeseries", (panel) => (panel.fieldConfig.defaults.custom.lineWeight = 2), /\blineWeight\b/],
  ["a threshold without a colour", "stat", (panel) => delete panel.fieldConfig.defaults.thresholds.steps[0].color, /\bcolor\b/],
  ["a width that is no number", "heatmap", (panel) => (panel.gridPos.w = "24"), /\bstring\b/],
  ["a kind of panel that there is not", "bargauge", (panel) => (panel.type = "barchat"), /barchat/],
]) {
  test(`Grafana's schema does not take ${what}`, () => {
    const found = changed(kind, change);
    assert.equal(found.length, 1, found.join("\n"));
    assert.match(found[0], says);
  });
}

test("the pictures are drawn from the queries that the dashboards have", async () => {
  for (const [file, { dashboard, titles }] of Object.entries(PICTURES)) {
    const wanted = titles.map((title) => ({ title, queries: panelOf(dashboards[dashboard], title).targets.map(({ expr }) => expr) }));
    const svg = await readFile(new URL(`../../docs/pictures/${file}`, import.meta.url), "utf8");
    assert.deepEqual(described(svg), wanted, `${file} is out of date: node scripts/pictures.mjs`);
  }
});
