// The dashboards in the charts are up to date with dashboards/generate.mjs, valid against Grafana's own
// types, and consistent.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import test from "node:test";
import { DIRECTORIES, dashboards, text } from "../../dashboards/generate.mjs";
import { complaints } from "../../dashboards/schema.mjs";
import { described } from "../../scripts/pictures/draw.mjs";
import { PICTURES, panelOf } from "../../scripts/pictures/panels.mjs";

const [kept, ...others] = await Promise.all(
  DIRECTORIES.map(async (directory) => {
    const files = (await readdir(directory)).sort();
    return Promise.all(files.map(async (file) => [file, await readFile(new URL(file, directory), "utf8")]));
  }),
);
const all = kept.map(([file, json]) => [file, JSON.parse(json)]);

test("the charts contain the generated dashboards", () => {
  for (const other of others) assert.deepEqual(other, kept);
  assert.deepEqual(Object.keys(dashboards).sort(), kept.map(([file]) => file));
  for (const [file, json] of kept) {
    assert.equal(json, text(dashboards[file]), `${file} is out of date: node dashboards/generate.mjs`);
  }
});

for (const [file, dashboard] of all) {
  test(`${file} is valid against Grafana's schema`, () => assert.deepEqual(complaints(dashboard), []));

  test(`${file}: every panel has a unit and says what is good`, () => {
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

  test(`${file}: every query applies the selected variables`, () => {
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
  ["an unknown field of a dashboard", "stat", (_, dashboard) => (dashboard.refreshEvery = "30s"), /the dashboard: .*\brefreshEvery\b/],
  ["an unknown field of a panel", "stat", (panel) => (panel.titel = "Connections"), /panel Connections: .*\btitel\b/],
  ["a row without its state", "row", (row) => delete row.collapsed, /panel Now: .*\bcollapsed\b/],
  ["an unknown field of a query", "timeseries", (panel) => (panel.targets[0].expression = "1"), /\bexpression\b/],
  ["a query without an expression", "timeseries", (panel) => delete panel.targets[0].expr, /\bexpr\b/],
  ["an unknown format", "table", (panel) => (panel.targets[0].format = "tabel"), /"tabel"/],
  ["an unknown option of a kind of panel", "stat", (panel) => (panel.options.graphStyle = "area"), /\bgraphStyle\b/],
  ["an invalid value of an option", "stat", (panel) => (panel.options.graphMode = "graph"), /"graph"/],
  ["an unknown setting of a time series", "timeseries", (panel) => (panel.fieldConfig.defaults.custom.lineWeight = 2), /\blineWeight\b/],
  ["a threshold without a colour", "stat", (panel) => delete panel.fieldConfig.defaults.thresholds.steps[0].color, /\bcolor\b/],
  ["a width that is not a number", "heatmap", (panel) => (panel.gridPos.w = "24"), /\bstring\b/],
  ["an unknown kind of panel", "bargauge", (panel) => (panel.type = "barchat"), /barchat/],
]) {
  test(`Grafana's schema rejects ${what}`, () => {
    const found = changed(kind, change);
    assert.equal(found.length, 1, found.join("\n"));
    assert.match(found[0], says);
  });
}

test("the pictures are drawn with the dashboards' queries", async () => {
  for (const [file, { dashboard, titles }] of Object.entries(PICTURES)) {
    const wanted = titles.map((title) => ({ title, queries: panelOf(dashboards[dashboard], title).targets.map(({ expr }) => expr) }));
    const svg = await readFile(new URL(`../../docs/pictures/${file}`, import.meta.url), "utf8");
    assert.deepEqual(described(svg), wanted, `${file} is out of date: node scripts/pictures.mjs`);
  }
});
