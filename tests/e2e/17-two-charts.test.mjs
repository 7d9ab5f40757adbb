// The operator and the services have charts of their own: uninstalling one leaves the other, and a
// second operator runs beside the first in other namespaces.
import assert from "node:assert/strict";
import { WEBSOCKET } from "./harness/clients.mjs";
import { ROOKERY } from "./harness/images.mjs";
import { apply, get, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { NAME, Release } from "./harness/release.mjs";
import { condition, rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const DEFINITION = "rookeries.rookery.dev";
const OURS = "v1beta2.custom.metrics.k8s.io";

scenario("uninstalling a service leaves the operator, and uninstalling the operator leaves the services", async (s) => {
  await operator.ensure();
  const one = await Release.install(s, "one");
  const other = await Release.install(s, "other");
  const before = (await operator.pods()).map(({ metadata }) => metadata.uid).sort();

  await s.step("helm uninstall of a service touches nothing of the operator", async () => {
    await one.uninstall();
    await until("the service is gone", async () => (await one.pods()).length === 0);
    assert.deepEqual((await operator.pods()).map(({ metadata }) => metadata.uid).sort(), before);
    await kubectl("get", "crd", DEFINITION);
    await other.client(s, WEBSOCKET);
  });

  await s.step("helm uninstall of the operator leaves the CRD, the resource and its connected clients", async () => {
    const client = await other.client(s, WEBSOCKET);
    let left = false;
    client.on("disconnect", () => (left = true));
    const { uid } = (await other.resource()).metadata;
    await operator.uninstall();
    await until("its APIService is gone", async () => (await get("default", "apiservice", OURS)) === undefined);
    await kubectl("get", "crd", DEFINITION);
    assert.equal((await other.resource()).metadata.uid, uid);
    assert.equal((await other.pods()).filter(({ ready }) => ready).length, 2);
    assert.equal(left, false);
  });

  await s.step("installed again, it takes care of the service as before", async () => {
    await operator.install();
    await kubectl("delete", "poddisruptionbudget", "-n", other.namespace, NAME);
    await until("the budget is back", () => get(other.namespace, "poddisruptionbudget", NAME));
    assert.equal((await other.pods()).filter(({ ready }) => ready).length, 2);
  });
});

scenario("a second operator in other namespaces", async (s) => {
  const [mine, theirs, canary] = await Promise.all(["mine", "theirs", "canary"].map((topic) => namespaces.create(topic)));
  for (const namespace of [mine, theirs, canary]) {
    s.watch(namespace);
    s.atEnd(() => namespaces.remove(namespace));
  }
  const where = { release: "canary", namespace: canary };
  const own = { crd: { enabled: false }, metricsApi: { enabled: false }, replicas: 1 };
  // The other files want one that watches all namespaces.
  s.atEnd(() => operator.upgrade());
  s.atEnd(() => operator.uninstall(where));
  await operator.upgrade({ watchNamespaces: [mine] });

  await s.step("it is refused where it would watch a namespace of the first", async () => {
    const refused = (values, message) => assert.rejects(operator.install({ ...own, ...values }, where), message);
    await refused({}, /set watchNamespaces to other namespaces/);
    await refused({ watchNamespaces: [theirs, mine] }, new RegExp(`watches ${mine} too`));
    await refused({ watchNamespaces: [theirs], metricsApi: { enabled: true } }, /set metricsApi\.enabled=false/);
  });

  await s.step("each reconciles the resources of its own namespaces", async () => {
    await operator.install({ ...own, watchNamespaces: [theirs] }, where);
    for (const namespace of [mine, theirs]) {
      await apply(rookery(namespace, NAME, { image: ROOKERY, drain: { lead: "0s", window: "1s" }, autoscaling: { enabled: false } }));
      await until(`the one in ${namespace} is ready`, async () => (await condition(namespace, NAME, "Ready"))?.status === "True");
    }
    const leases = async (namespace, name) => (await get(namespace, "lease", name)).spec.holderIdentity;
    assert.match(await leases(canary, "canary-rookery-operator"), /^canary-rookery-operator-/);
    assert.match(await leases(operator.NAMESPACE, operator.RELEASE), /^rookery-operator-/);
  });

  await s.step("the first keeps the metrics API, and the second has no right to it", async () => {
    assert.equal((await get("default", "apiservice", OURS)).spec.service.namespace, operator.NAMESPACE);
    const account = `system:serviceaccount:${canary}:canary-rookery-operator`;
    const may = await kubectl("auth", "can-i", "list", "apiservices", "--as", account).then(
      (answer) => answer.trim() === "yes",
      () => false,
    );
    assert.equal(may, false);
  });

  await s.step("uninstalling the second leaves the first, the CRD and its own services", async () => {
    await operator.uninstall(where);
    await kubectl("get", "crd", DEFINITION);
    await operator.pods();
    assert.equal((await get(theirs, "deployment", NAME)).status.readyReplicas, 1);
  });
});
