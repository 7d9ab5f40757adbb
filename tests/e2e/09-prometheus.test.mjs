// Prometheus takes servers and operator by their annotations; what it reads is what there is; and
// only a Prometheus is let in.
import assert from "node:assert/strict";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { Prometheus } from "./harness/prometheus.mjs";
import { Release } from "./harness/release.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const CLIENTS = 45;

scenario("a Prometheus in the cluster", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "measured", { replicas: { min: 2, max: 2 } });
  const namespace = await namespaces.create("prometheus");
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  const operators = await operator.pods();
  const seen = [release.namespace, operator.NAMESPACE];
  const [prometheus, stranger] = await Promise.all([
    Prometheus.start(namespace, "prometheus", "prometheus", seen),
    Prometheus.start(namespace, "stranger", "something-else", seen),
  ]);
  const expected = [...(await release.pods()).map(({ name }) => name), ...operators.map(({ metadata }) => metadata.name)].sort();

  await s.step("takes the servers and the operators by their annotations, and no other pod", async () => {
    await until("all four are up", async () => {
      const targets = await prometheus.targets();
      assert.deepEqual(targets.map(({ pod }) => pod).sort(), expected);
      assert.deepEqual(targets.filter(({ health }) => health !== "up"), []);
      return true;
    });
  });

  const swarm = release.swarm(s);
  await s.step("reads of each pod as many connections as it holds clients", async () => {
    await swarm.grow(CLIENTS);
    await until("it has read all", () => connections(prometheus, release, swarm));
    assert.equal(swarm.byPod().size, 2, "both pods have some");
  });

  await s.step("and so when some have left", async () => {
    swarm.leave(swarm.members.slice(0, 20));
    await until("it has read what is left", () => connections(prometheus, release, swarm));
  });

  await s.step("reads of the operators that one leads, and that it has reconciled", async () => {
    const [leaders] = await prometheus.query(`sum(rookery_operator_leader{namespace="${operator.NAMESPACE}"})`);
    assert.equal(leaders.value, 1);
    const [done] = await prometheus.query('sum(rookery_operator_reconciles_total{outcome="done"})');
    assert.ok(done.value > 0);
    const cpu = await prometheus.query("process_cpu_seconds_total");
    assert.deepEqual(cpu.map(({ metric }) => metric.pod).sort(), expected);
  });

  await s.step("a pod that is no Prometheus is let in nowhere", async () => {
    const targets = await until("it has tried all", async () => {
      const found = await stranger.targets();
      return found.length === expected.length && found.every(({ health }) => health !== "unknown") && found;
    });
    assert.deepEqual(targets.filter(({ health }) => health !== "down"), []);
    assert.ok(targets.every(({ lastError }) => /deadline|refused|timeout|unreachable/.test(lastError)), JSON.stringify(targets));
  });
});

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
