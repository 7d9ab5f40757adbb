// Two releases in two namespaces share one operator: each scales by its own connections, a second
// operator is refused, and namespaces can be deleted in any order. Another server of custom metrics
// keeps its API group.
import assert from "node:assert/strict";
import { apply, get, kubectl, raw } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { OtherMetrics } from "./harness/other-metrics.mjs";
import { NAME, Release } from "./harness/release.mjs";
import { condition, rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until, within } from "./harness/until.mjs";

/** How soon a namespace is gone once it is deleted, in milliseconds. */
const GONE = 60_000;

const OURS = "v1beta2.custom.metrics.k8s.io";

scenario("two releases and one operator", async (s) => {
  await operator.ensure();
  const first = await Release.prepare(s, "first");
  const second = await Release.prepare(s, "second");

  await s.step("the operator serves the first release", async () => {
    await first.install({ replicas: { min: 2, max: 5 }, autoscaling: { connectionsPerPod: 10 } });
    await first.ready();
  });

  await s.step("a release with an operator of its own is refused with a message that names the chart", async () => {
    await assert.rejects(second.install({ operator: { enabled: true } }), /helm install rookery-operator charts\/rookery-operator/);
    assert.equal(await second.resource(), undefined);
  });

  await s.step("the operator serves the second release", async () => {
    await second.install({ replicas: { min: 2, max: 5 }, autoscaling: { connectionsPerPod: 20 } });
    await second.ready();
  });

  const swarms = [first.swarm(s), second.swarm(s)];
  await s.step("each service scales by its own connections", async () => {
    await Promise.all([swarms[0].grow(40), swarms[1].grow(60)]);
    await Promise.all([first.ready(4, { patience: 180_000 }), second.ready(3, { patience: 180_000 })]);
    await until("each autoscaler sees its own average", async () => {
      assert.deepEqual(await Promise.all([average(first), average(second)]), ["10", "20"]);
      return true;
    });
    assert.deepEqual(await Promise.all([sum(first), sum(second)]), [40, 60]);
    assert.equal((await first.pods()).length, 4);
    assert.equal((await second.pods()).length, 3);
  });

  await s.step("after uninstalling both and then the operator, each namespace is gone within 60 s", async () => {
    for (const swarm of swarms) swarm.close();
    await second.uninstall();
    await first.uninstall();
    await operator.uninstall();
    await Promise.all([second.namespace, first.namespace, operator.NAMESPACE].map((namespace) => goes(s, namespace)));
    await nothingIsLeft();
  });
});

scenario("the operator's release is uninstalled first", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "alone");
  await ours();

  await s.step("the service keeps running without it", async () => {
    await operator.uninstall();
    await nothingIsLeft();
    await goes(s, operator.NAMESPACE);
    assert.equal((await release.pods()).filter(({ ready }) => ready).length, 2);
    const socket = await release.client(s, ["polling", "websocket"]);
    socket.close();
  });

  await s.step("after it is uninstalled, its namespace is gone within 60 s too", async () => {
    await release.uninstall();
    await goes(s, release.namespace);
  });
});

scenario("the operator's namespace is deleted with the operator in it", async (s) => {
  await operator.remove();
  await operator.ensure();
  s.atEnd(() => kubectl("delete", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/component=operator"));
  await ours();

  await s.step("the namespace is gone within 60 s, and any other can be deleted too", async () => {
    const bystander = await namespaces.create("bystander");
    await Promise.all([goes(s, operator.NAMESPACE), goes(s, bystander)]);
    assert.equal(await get("default", "apiservice", OURS), undefined);
  });
});

scenario("another server owns the custom metrics group", async (s) => {
  await operator.ensure();
  const namespace = await namespaces.create("elsewhere");
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  // For no node: there is nothing to serve here but figures.
  const builtin = (connectionsPerPod) =>
    rookery(namespace, NAME, { podTemplate: { nodeSelector: { none: "none" } }, autoscaling: { connectionsPerPod } });
  await apply(builtin(10));
  const external = await Release.install(s, "external", {
    replicas: { min: 2, max: 4 },
    autoscaling: { connectionsPerPod: 10, metrics: "external" },
  });
  await ours();
  await until("neither is degraded", async () => {
    const found = await Promise.all([namespace, external.namespace].map((one) => condition(one, NAME, "Degraded")));
    return found.every(({ status }) => status === "False");
  });
  const other = await OtherMetrics.start(s);
  const theirs = await other.apiService();

  await s.step("the other server gets the group, and the condition says who owns it and what to do", async () => {
    await until("ours is gone", async () => (await get("default", "apiservice", OURS)) === undefined);
    const degraded = await until("it is degraded", async () => {
      const found = await condition(namespace, NAME, "Degraded");
      return found.status === "True" && found;
    });
    assert.equal(degraded.reason, "MetricsElsewhere");
    assert.ok(degraded.message.includes(`${other.namespace}/metrics`), degraded.message);
    assert.match(degraded.message, /autoscaling\.metrics: external/);
  });

  await s.step("a resource with external metrics is not degraded and scales by them", async () => {
    other.connections = 20;
    await external.ready(4, { patience: 180_000 });
    await until("its autoscaler has read it", async () => (await average(external)) === "20");
    assert.equal((await condition(external.namespace, NAME, "Degraded")).status, "False");
  });

  await s.step("an operator that starts later does not claim the group either", async () => {
    await kubectl("rollout", "restart", "-n", operator.NAMESPACE, "deployment/rookery-operator");
    await kubectl("rollout", "status", "-n", operator.NAMESPACE, "deployment/rookery-operator", "--timeout=90s");
    const { metadata } = await get(namespace, "rookery", NAME);
    await apply(builtin(11));
    await until("the new leader has seen a change", async () => {
      const found = await condition(namespace, NAME, "Degraded");
      return found?.observedGeneration > metadata.generation && found.reason === "MetricsElsewhere";
    });
    assert.equal(await get("default", "apiservice", OURS), undefined);
  });

  await s.step("its APIService is unchanged, byte for byte", async () => {
    assert.deepEqual(await other.apiService(), theirs);
  });

  await s.step("once the other server is gone, the operator claims the group and nothing is degraded", async () => {
    await other.remove();
    await ours();
    await until("nothing is degraded", async () => (await condition(namespace, NAME, "Degraded"))?.status === "False");
  });
});

/** Deletes a namespace; fails unless it is gone in time. */
async function goes(s, namespace) {
  const began = Date.now();
  await within(`the namespace ${namespace} is gone`, namespaces.remove(namespace), GONE);
  s.note(`${namespace} was gone after ${Math.round((Date.now() - began) / 1000)} s`);
}

/** Waits until the API server gets through to the operator's metrics. */
function ours() {
  return until("our APIService is available", async () => {
    const { status } = await get("default", "apiservice", OURS);
    return status.conditions.some(({ type, status }) => type === "Available" && status === "True");
  });
}

/** Waits until nothing of the cluster's whole that a release makes is left but the definition. */
function nothingIsLeft() {
  return until("nothing is left", async () => {
    assert.equal(await get("default", "apiservice", OURS), undefined);
    assert.equal(await kubectl("get", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/name=rookery", "-o", "name"), "");
    return true;
  });
}

/** The average that a release's autoscaler sees. */
async function average(release) {
  const { status } = await get(release.namespace, "hpa", NAME);
  return status.currentMetrics?.[0]?.pods?.current.averageValue;
}

/** The connections of a release, as autoscalers are told of them. */
async function sum(release) {
  const path = `/apis/custom.metrics.k8s.io/v1beta2/namespaces/${release.namespace}/pods/*/rookery_connections`;
  const { items } = await raw(path);
  return items.reduce((total, { value }) => total + Number(value), 0);
}
