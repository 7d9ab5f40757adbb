// A real Prometheus scrapes two loaded instances and an operator: every query of the dashboards, rules
// and runbooks returns series, and every metric mentioned exists.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import test from "node:test";
import { ask, until } from "../clients/harness.mjs";
import { dashboards } from "../../dashboards/generate.mjs";
import { asked, figures } from "./queries.mjs";
import { PODS, members, refused, slow, stage } from "./stage.mjs";

const repository = (path) => new URL(`../../${path}`, import.meta.url);

/**
 * There from the first request of an autoscaler or of KEDA and the first paused or unscaled resource on, which no
 * cluster has here, and of the API server, which is not scraped here.
 */
const LATER = new Set([
  "rookery_operator_metrics_api_requests_total",
  "rookery_operator_paused",
  "rookery_operator_scaler_requests_total",
  "rookery_operator_without_metrics",
  "aggregator_unavailable_apiservice",
]);

/** Whether a query can return series here. */
const isHere = (query) => ![...LATER].some((metric) => query.includes(metric));

/** Everything that is called like a metric of ours, or of a process. */
const named = (text) => new Set(text.match(/\b(rookery|process)_[a-z_]+[a-z]\b/g));

/** The metrics among them that nothing has, in `known` as they are scraped. */
const missing = (text, known) => [...named(text)].filter((name) => !known.has(name) && !["_bucket", "_count"].some((end) => known.has(name + end)));

/** The blocks of PromQL in a page. */
const promql = (page) => [...page.matchAll(/```promql\n(.*?)\n```/gs)].map(([, query]) => query);

async function runbooks() {
  const files = (await readdir(repository("docs/runbooks"))).sort();
  return Promise.all(files.map(async (file) => [file, await readFile(repository(`docs/runbooks/${file}`), "utf8")]));
}

test("an unknown metric name is detected", () => {
  const known = new Set(["rookery_connections", "rookery_delivery_latency_seconds_bucket", "rookery_delivery_latency_seconds_count"]);
  assert.deepEqual(missing("sum(rookery_connections) / rookery_conections", known), ["rookery_conections"]);
  assert.deepEqual(missing("`rookery_delivery_latency_seconds`, rookery:connections:ratio", known), []);
});

test("queries and rules return data for two instances and an operator", { timeout: 300_000 }, async (t) => {
  const { redis, servers, operator, prometheus } = await stage(t);
  const clients = await Promise.all(servers.map((server) => members(t, server)));
  await refused(t, servers[0]);
  await slow(t, servers[1]);
  // Publications, and events for the backend, until rates see a difference.
  const published = async () => {
    for (const server of servers) {
      for (const room of ["board:news", "acme:app-0", "acme:app-1"]) await server.publish({ room, event: "n", args: [1] });
    }
    for (const [client] of clients) await ask(client, "question", {});
    const counts = ['rookery_room_delivery_latency_seconds_count{room="board:news"}', "rookery_backend_request_seconds_count"];
    const rates = await Promise.all(counts.map((count) => prometheus.query(`sum(rate(${count}[1m])) > 0`)));
    return rates.every((rate) => rate.length > 0);
  };
  await until("Prometheus has seen deliveries", published);
  const samples = `count(count_over_time(rookery_build_info[5m]) > 3)`;
  await until("Prometheus has read both some times", async () => (await prometheus.query(samples))[0]?.value[1] === "2");

  /** Runs a query; it must give figures. */
  const gives = async (what, expr) => {
    const found = await until(() => `${what} returns series: ${expr}`, async () => {
      const series = await prometheus.query(expr);
      return series.length > 0 && series;
    }, 20_000);
    assert.ok(found.some(({ value: [, value] }) => Number.isFinite(Number(value))), `${what} is no number: ${expr}`);
  };

  for (const [file, dashboard] of Object.entries(dashboards)) {
    await t.test(`every query of ${file} returns series`, async () => {
      const panels = dashboard.panels.filter(({ type }) => type !== "row");
      for (const { title, targets } of panels) {
        for (const { expr } of targets) await gives(`${file}, ${title}`, asked(expr, dashboard));
      }
    });

    await t.test(`every variable of ${file} has values`, async () => {
      for (const { name, query, regex } of dashboard.templating.list.filter(({ type }) => type === "query")) {
        const [, series, label] = /^label_values\((.*), ([a-z]+)\)$/.exec(query.query);
        const found = (await prometheus.query(asked(series, dashboard))).map(({ metric }) => metric[label]);
        assert.ok(found.length > 0 && found.every(Boolean), `${name}: ${found}`);
        if (regex) assert.deepEqual([...new Set(found.map((one) => new RegExp(regex.slice(1, -1)).exec(one)?.[1]))], ["chat"]);
      }
    });
  }

  await t.test("a dashboard shows only the pods of the selected service", async () => {
    const fleet = dashboards["rookery-fleet.json"];
    const [{ expr }] = fleet.panels.find(({ title }) => title === "Connections by pod").targets;
    const of = async (service) => {
      const found = await prometheus.query(asked(expr, fleet, { namespace: "(chat)", service: `(${service})` }));
      return found.map(({ metric }) => metric.pod).sort();
    };
    assert.deepEqual(await of("chat"), PODS);
    assert.deepEqual(await of("chat|lobby"), PODS);
    assert.deepEqual(await of("cha"), []);
  });

  const rules = await prometheus.rules();
  await t.test("every rule is evaluated and returns series", async () => {
    assert.ok(rules.length > 25, `${rules.length} rules`);
    assert.deepEqual(rules.filter(({ health }) => health !== "ok"), []);
    for (const rule of rules.filter(({ query }) => isHere(query))) await gives(rule.name, rule.type === "alerting" ? figures(rule.name, rule.query) : rule.query);
    for (const { name } of rules.filter(({ type }) => type === "recording")) await gives(name, name);
  });

  await t.test("every query of a runbook returns series", async () => {
    const pages = (await runbooks()).map(([file, page]) => [file, promql(page)]);
    assert.ok(pages.flatMap(([, queries]) => queries).length > 20);
    for (const [file, queries] of pages) {
      for (const query of queries.filter(isHere)) await gives(file, query);
    }
  });

  await t.test("every metric mentioned anywhere is scraped", async () => {
    const urls = [...servers.map(({ internal }) => internal), operator];
    const texts = await Promise.all(urls.map(async (url) => (await fetch(`${url}/metrics`)).text()));
    const known = new Set([...LATER, ...texts.flatMap((text) => text.match(/^[a-z_]+(?=[{ ])/gm))]);
    for (const [file, dashboard] of Object.entries(dashboards)) assert.deepEqual(missing(JSON.stringify(dashboard), known), [], file);
    for (const { name, query } of rules) assert.deepEqual(missing(query, known), [], name);
    for (const [file, page] of [...(await runbooks()), ["monitoring.md", await readFile(repository("docs/monitoring.md"), "utf8")]]) {
      assert.deepEqual(missing(page, known), [], file);
    }
  });

  await t.test("the figures reflect what clients did", async () => {
    const one = async (expr) => Number((await prometheus.query(expr))[0]?.value[1]);
    assert.equal(await one('sum(rookery_disconnects_total{reason="slow"})'), 1);
    assert.ok((await one('sum(rookery_rejected_total{reason="forbidden"})')) > 0);
    for (const transport of ["polling", "websocket"]) {
      await until(`${transport} clients are counted`, async () => (await one(`sum(rookery_connections{transport="${transport}"})`)) === { polling: 6, websocket: 18 }[transport]);
    }
  });

  await t.test("the Redis alerts fire when Redis is down", async () => {
    const state = async (alert, wanted) => (await prometheus.query(`ALERTS{alertname="${alert}",alertstate="${wanted}"}`)).length > 0;
    assert.equal(await state("RookeryRedisDown", "pending"), false);
    await redis.kill();
    await servers[0].redisIs(0);
    await servers[0].publish({ room: "board:news", event: "n", args: [1] });
    await until("RookeryRedisDown waits for its minute", () => state("RookeryRedisDown", "pending"));
    await until("RookeryRedisUnsent fires", () => state("RookeryRedisUnsent", "firing"));
  });
});
