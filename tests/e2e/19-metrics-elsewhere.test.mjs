// custom.metrics.k8s.io belongs to another server, in either order of installation and by takeover of
// our APIService: theirs survives the operator and its uninstallation, and namespaces can be deleted.
import assert from "node:assert/strict";
import { apply, get, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { OURS, OtherMetrics } from "./harness/other-metrics.mjs";
import { NAME } from "./harness/release.mjs";
import { condition, rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until, within } from "./harness/until.mjs";

/** How soon a namespace is gone once it is deleted, in milliseconds. */
const GONE = 60_000;

/** KEDA's kind, without its schema. */
const SCALED_OBJECTS = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "scaledobjects.keda.sh" },
  spec: {
    group: "keda.sh",
    scope: "Namespaced",
    names: { kind: "ScaledObject", plural: "scaledobjects", singular: "scaledobject" },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};

scenario("another server is installed first", async (s) => {
  await operator.remove();
  const other = await OtherMetrics.start(s);
  const theirs = await other.apiService();
  await operator.ensure();
  const namespace = await watched(s);

  await s.step("the operator makes no APIService, and the condition names the owner", async () => {
    await degraded(namespace, "MetricsElsewhere", new RegExp(`${other.namespace}/metrics`));
    assert.equal(await ours(), undefined);
  });

  await s.step("theirs survives our uninstallation, byte for byte", async () => {
    await operator.remove();
    assert.deepEqual(await other.apiService(), theirs);
    await goes(s);
  });
});

scenario("another server is installed after ours", async (s) => {
  await operator.ensure();
  await isOurs();
  const other = await OtherMetrics.start(s);
  const theirs = await other.apiService();

  await s.step("ours is withdrawn", async () => {
    await until("ours is gone", async () => (await ours()) === undefined);
  });

  await s.step("theirs survives our uninstallation, byte for byte", async () => {
    await operator.remove();
    assert.deepEqual(await other.apiService(), theirs);
    await goes(s);
  });
});

scenario("another server takes over our APIService", async (s) => {
  await operator.ensure();
  await isOurs();
  const other = await OtherMetrics.start(s);
  await other.remove();
  const namespace = await watched(s);
  await isOurs();
  await other.takeOver();
  s.atEnd(() => kubectl("delete", "apiservice", OURS, "--ignore-not-found"));

  await s.step("our owner reference and labels are removed, and nothing else is written", async () => {
    const taken = await until("it is released", async () => {
      const found = await ours();
      return found.metadata.ownerReferences === undefined && found;
    });
    assert.equal(taken.metadata.labels?.["app.kubernetes.io/managed-by"], undefined);
    assert.equal(taken.spec.service.namespace, other.namespace);
    await degraded(namespace, "MetricsElsewhere", new RegExp(`${other.namespace}/metrics`));
    await kubectl("rollout", "restart", "-n", operator.NAMESPACE, "deployment/rookery-operator");
    await kubectl("rollout", "status", "-n", operator.NAMESPACE, "deployment/rookery-operator", "--timeout=90s");
    assert.deepEqual((await ours()).spec, taken.spec);
  });

  await s.step("it survives our uninstallation, and namespaces can be deleted", async () => {
    const { metadata } = await ours();
    await operator.remove();
    await goes(s);
    assert.equal((await ours()).metadata.uid, metadata.uid);
  });

  await s.step("once it is gone, a new operator serves the group", async () => {
    await kubectl("delete", "apiservice", OURS);
    await operator.ensure();
    await isOurs();
  });
});

scenario("the last replica of the operator leaves while it is still wanted", async (s) => {
  await operator.ensure();
  await isOurs();
  s.atEnd(() => operator.upgrade());
  // What comes next cannot start: as with an image that cannot be pulled.
  const unpullable = { spec: { strategy: { type: "Recreate", rollingUpdate: null }, template: { spec: { containers: [{ name: "operator", image: "example.invalid/none:1" }] } } } };
  await kubectl("patch", "deployment", "rookery-operator", "-n", operator.NAMESPACE, "--type=strategic", "-p", JSON.stringify(unpullable));

  await s.step("it takes the APIService along, and namespaces can be deleted", async () => {
    await until("ours is gone", async () => (await ours()) === undefined);
    await goes(s);
  });
});

scenario("the metrics API is switched off", async (s) => {
  await operator.ensure();
  await isOurs();
  const namespace = await watched(s);
  s.atEnd(() => operator.upgrade());
  await operator.upgrade({ metricsApi: { enabled: false } });

  await s.step("ours is removed, and the condition names the switch", async () => {
    await until("ours is gone", async () => (await ours()) === undefined);
    await degraded(namespace, "MetricsDisabled", /metricsApi\.enabled/);
  });
});

scenario("KEDA scales in place of the autoscaler", async (s) => {
  // Its kind is enough: what KEDA makes of it is KEDA's.
  await apply([SCALED_OBJECTS]);
  s.atEnd(() => kubectl("delete", "crd", SCALED_OBJECTS.metadata.name, "--ignore-not-found"));
  s.atEnd(() => operator.upgrade());
  await operator.upgrade({ kedaScaler: { enabled: true } });
  const namespace = await watched(s);
  const scales = (metrics) => apply(rookery(namespace, NAME, { podTemplate: { nodeSelector: { none: "none" } }, autoscaling: { metrics } }));
  const autoscalers = async () => {
    const found = await Promise.all(["hpa", "scaledobject"].map((kind) => get(namespace, kind, NAME)));
    return found.map((one) => one !== undefined);
  };
  await until("there is an autoscaler", async () => (await autoscalers())[0]);

  await s.step("a ScaledObject takes the autoscaler's place, and asks the operator's scaler", async () => {
    await scales("keda");
    await until("it does", async () => {
      const [hpa, scaled] = await autoscalers();
      return !hpa && scaled;
    });
    const { spec } = await get(namespace, "scaledobject", NAME);
    const { scalerAddress, rookery: name } = spec.triggers[0].metadata;
    assert.equal(name, NAME);
    const [service, where, port] = scalerAddress.split(/[.:]/).filter((part) => part !== "svc");
    const { spec: found } = await get(where, "service", service);
    assert.deepEqual(found.ports.map((one) => String(one.port)), [port]);
    await until("it is not degraded", async () => (await condition(namespace, NAME, "Degraded"))?.status === "False");
  });

  await s.step("and the other way round", async () => {
    await scales("builtin");
    await until("it does", async () => {
      const [hpa, scaled] = await autoscalers();
      return hpa && !scaled;
    });
  });
});

/** A namespace with a resource whose autoscaler asks for our metrics, for no node. */
async function watched(s) {
  const namespace = await namespaces.create("elsewhere");
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  await apply(rookery(namespace, NAME, { podTemplate: { nodeSelector: { none: "none" } } }));
  return namespace;
}

/** Waits for the reason and the message of the condition `Degraded`. */
function degraded(namespace, reason, message) {
  return until(`it is degraded: ${reason}`, async () => {
    const found = await condition(namespace, NAME, "Degraded");
    return found?.reason === reason && message.test(found.message);
  });
}

/** The APIService of the version that the operator serves. */
function ours() {
  return get("default", "apiservice", OURS);
}

/** Waits until the API server gets through to the operator. */
function isOurs() {
  return until("our APIService is available", async () => {
    const found = await ours();
    return found?.spec.service.namespace === operator.NAMESPACE &&
      found.status?.conditions?.some(({ type, status }) => type === "Available" && status === "True");
  });
}

/** A namespace can be deleted: fails unless it is gone in time. */
async function goes(s) {
  const namespace = await namespaces.create("bystander");
  const began = Date.now();
  await within(`the namespace ${namespace} is gone`, namespaces.remove(namespace), GONE);
  s.note(`${namespace} was gone after ${Math.round((Date.now() - began) / 1000)} s`);
}
