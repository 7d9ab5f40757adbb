// Prometheus scrapes pods and operator by their annotations; the metrics are correct; only Prometheus
// is admitted; and the dashboards and rules of the chart and the operator find their series.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { asked, figures } from "../monitoring/queries.mjs";
import { all, apply, get, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { Prometheus } from "./harness/prometheus.mjs";
import { NAME, Release } from "./harness/release.mjs";
import { scenario } from "./harness/scenario.mjs";
import { pause, until } from "./harness/until.mjs";

const CLIENTS = 45;

scenario("Prometheus in the cluster", async (s) => {
  await operator.ensure();
  await apply(await readFile(new URL("fixtures/prometheus-operator.yaml", import.meta.url), "utf8"));
  s.atEnd(() => kubectl("delete", "crd", "servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com"));
  // Pods that a ServiceMonitor tells of have no annotations, so that none is scraped twice.
  const monitoring = { serviceMonitor: false };
  const release = await Release.install(s, "measured", { replicas: { min: 2, max: 2 }, dashboards: { enabled: true }, monitoring });
  const rules = await until("the operator has made the rules", async () => {
    return (await get(release.namespace, "prometheusrules.monitoring.coreos.com", NAME))?.spec;
  });
  const namespace = await namespaces.create("prometheus");
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  const operators = await operator.pods();
  const seen = [release.namespace, operator.NAMESPACE];
  const [prometheus, stranger] = await Promise.all([
    Prometheus.start(namespace, "prometheus", "prometheus", seen, rules),
    Prometheus.start(namespace, "stranger", "something-else", seen),
  ]);
  const expected = [...(await release.pods()).map(({ name }) => name), ...operators.map(({ metadata }) => metadata.name)].sort();

  await s.step("it scrapes the pods and the operators by their annotations, and no other pod", async () => {
    await until("all four are up", async () => {
      const targets = await prometheus.targets();
      assert.deepEqual(targets.map(({ pod }) => pod).sort(), expected);
      assert.deepEqual(targets.filter(({ health }) => health !== "up"), []);
      return true;
    });
  });

  const swarm = release.swarm(s);
  await s.step("the connections of each pod match its clients", async () => {
    await swarm.grow(CLIENTS);
    await until("it has read all", () => connections(prometheus, release, swarm));
    assert.equal(swarm.byPod().size, 2, "both pods have some");
  });

  const pods = (await release.pods()).map(({ name }) => name).sort();
  /** Asks until there are figures, of this release's pods alone. */
  const gives = async (what, expr) => {
    const found = await until(`${what} returns series: ${expr}`, async () => {
      const series = await prometheus.query(expr);
      return series.some(({ value }) => Number.isFinite(value)) && series;
    });
    const others = found.filter(({ metric }) => metric.pod !== undefined && !pods.includes(metric.pod));
    assert.deepEqual(others, [], expr);
  };

  let chat;
  await s.step("the dashboards exist, and their queries return series of this release", async () => {
    chat = await chatter(s, release);
    const boards = await all(release.namespace, "configmaps", "grafana_dashboard=1");
    const files = boards.flatMap(({ data }) => Object.entries(data));
    assert.deepEqual(files.map(([file]) => file).sort(), ["rookery-fleet.json", "rookery-rooms.json"]);
    assert.ok(boards.every(({ metadata }) => metadata.annotations.grafana_folder === "Rookery"));
    const chosen = { namespace: release.namespace, service: NAME };
    for (const [file, json] of files) {
      const dashboard = JSON.parse(json);
      for (const { title, targets } of dashboard.panels.filter(({ type }) => type !== "row")) {
        for (const { expr } of targets) await gives(`${file}, ${title}`, asked(expr, dashboard, chosen));
      }
    }
  });

  await s.step("the operator's rules exist, and their expressions have data of this release", async () => {
    const made = rules.groups.flatMap((group) => group.rules);
    assert.ok(made.length > 20, `${made.length} rules`);
    for (const { alert, record, expr } of made) await gives(alert ?? record, alert ? figures(alert, expr) : record);
    await chat.end();
    assert.equal(await get(release.namespace, "servicemonitors.monitoring.coreos.com", NAME), undefined);
  });

  await s.step("the connections still match after some clients have left", async () => {
    swarm.leave(swarm.members.slice(0, 20));
    await until("it has read what is left", () => connections(prometheus, release, swarm));
  });

  await s.step("the operators' metrics show that one leads and has reconciled", async () => {
    const [leaders] = await prometheus.query(`sum(rookery_operator_leader{namespace="${operator.NAMESPACE}"})`);
    assert.equal(leaders.value, 1);
    const [done] = await prometheus.query('sum(rookery_operator_reconciles_total{outcome="done"})');
    assert.ok(done.value > 0);
    const cpu = await prometheus.query("process_cpu_seconds_total");
    assert.deepEqual(cpu.map(({ metric }) => metric.pod).sort(), expected);
  });

  await s.step("a pod that is not Prometheus cannot reach any metrics", async () => {
    const targets = await until("it has tried all", async () => {
      const found = await stranger.targets();
      return found.length === expected.length && found.every(({ health }) => health !== "unknown") && found;
    });
    assert.deepEqual(targets.filter(({ health }) => health !== "down"), []);
    assert.ok(targets.every(({ lastError }) => /deadline|refused|timeout|unreachable/.test(lastError)), JSON.stringify(targets));
  });

  await s.step("a ServiceMonitor takes the place of the annotations", async () => {
    await release.upgrade({ monitoring: { serviceMonitor: true } });
    await until("it is there, and no pod is annotated", async () => {
      const pods = await release.pods();
      const annotated = pods.filter(({ object }) => object.metadata.annotations["prometheus.io/scrape"] !== undefined);
      const made = await get(release.namespace, "servicemonitors.monitoring.coreos.com", NAME);
      return made !== undefined && pods.length > 0 && annotated.length === 0;
    }, { patience: 180_000 });
  });
});

/**
 * Two clients in a room, one of which publishes to it from when this returns, until `end` of what it
 * gives was called.
 */
async function chatter(s, release) {
  const [one, other] = [await release.client(s, ["websocket"]), await release.client(s, ["polling"])];
  const room = "acme:board";
  for (const client of [one, other]) assert.equal((await client.emitWithAck("join", { room })).status, "SUCCESS");
  let heard = 0;
  other.on("chat", () => heard++);
  let more = true;
  s.atEnd(async () => {
    more = false;
  });
  const publishes = (async () => {
    while (more) {
      assert.equal((await one.emitWithAck("publish", { room, event: "chat", data: heard })).status, "SUCCESS");
      await pause(200);
    }
  })();
  // Who waits for its end hears of what went wrong.
  publishes.catch(() => {});
  await until("what is published is heard", () => heard > 20);
  return {
    end: async () => {
      more = false;
      await publishes;
      one.close();
      other.close();
    },
  };
}

/** Whether Prometheus has read of each pod what the swarm knows of it. */
async function connections(prometheus, release, swarm) {
  const read = await prometheus.query(`sum by (pod) (rookery_connections{namespace="${release.namespace}"})`);
  const held = swarm.byPod();
  for (const pod of await release.pods()) {
    const { value } = read.find(({ metric }) => metric.pod === pod.name);
    assert.equal(value, held.get(await pod.id()) ?? 0, pod.name);
  }
  return true;
}
