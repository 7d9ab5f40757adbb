// The operator reverts manual edits, invalid resources are rejected with the name of the field, and
// objects of others are not touched.
import assert from "node:assert/strict";
import { WEBSOCKET, connected } from "./harness/clients.mjs";
import { ROOKERY } from "./harness/images.mjs";
import { ingress } from "./harness/ingress.mjs";
import { all, apply, get, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { KINDS, condition, owned, rookery, title, wish, wishes } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const NAME = "chat";

/** How soon a manual edit is reverted, in milliseconds. */
const SOON = 10_000;

/** With an image that does not exist no new pod becomes ready, so the old pods stay. */
const NO_IMAGE = "rookery.local/none:none";

/** Manual edits as strategic merge patches: kind, name, description, patch. */
const EDITS = [
  ["deployment", NAME, "its image", { spec: { template: { spec: { containers: [{ name: "rookery", image: NO_IMAGE }] } } } }],
  ["deployment", NAME, "an additional container", { spec: { template: { spec: { containers: [{ name: "more", image: NO_IMAGE }] } } } }],
  ["deployment", NAME, "its rollout strategy", { spec: { minReadySeconds: 0, strategy: { rollingUpdate: { maxUnavailable: 1 } } } }],
  ["service", NAME, "an additional port", { spec: { ports: [{ name: "more", port: 81, targetPort: 3000 }] } }],
  ["service", NAME, "its sticky cookie", { metadata: { annotations: { "traefik.ingress.kubernetes.io/service.sticky.cookie": "false" } } }],
  ["service", `${NAME}-internal`, "its target port", { spec: { ports: [{ port: 9090, targetPort: 9999 }] } }],
  ["service", `${NAME}-internal`, "an additional label in its selector", { spec: { selector: { more: "yes" } } }],
  ["configmap", NAME, "its data", { data: { "rookery.yaml": "{}" } }],
  ["configmap", NAME, "an additional file", { data: { more: "yes" } }],
  ["serviceaccount", NAME, "its labels", { metadata: { labels: { "app.kubernetes.io/component": "other" } } }],
  ["serviceaccount", NAME, "the label by which the operator finds it", { metadata: { labels: { "app.kubernetes.io/managed-by": null } } }],
  ["ingress", NAME, "its host", { spec: { rules: [{ host: "elsewhere.test" }] } }],
  ["ingress", NAME, "its annotations", { metadata: { annotations: { "example.com/team": "others" } } }],
  ["horizontalpodautoscaler", NAME, "its maximum", { spec: { maxReplicas: 7 } }],
  ["horizontalpodautoscaler", NAME, "its scale-down behavior", { spec: { behavior: { scaleDown: { stabilizationWindowSeconds: 0 } } } }],
  ["poddisruptionbudget", NAME, "its maxUnavailable", { spec: { maxUnavailable: 2 } }],
  ["networkpolicy", NAME, "ingress from anywhere", { spec: { ingress: [{}] } }],
  ["networkpolicy", NAME, "its owner", { metadata: { ownerReferences: null } }],
];

scenario("the operator reverts manual edits", async (s) => {
  const service = await Service.start(s, "edits");
  const before = wishes(await owned(service.namespace, NAME));
  const client = await service.client(s);
  const disconnects = [];
  client.on("disconnect", (reason) => disconnects.push(reason));

  await s.step("an object of every kind exists", async () => {
    const kinds = new Set(Object.values(before).map(({ kind }) => kind.toLowerCase()));
    assert.deepEqual([...kinds].sort(), [...KINDS].sort());
    assert.equal(Object.keys(before).length, KINDS.length + 1, "two Services");
  });

  for (const [kind, name, what, patch] of EDITS) {
    await s.step(`${kind} ${name}: ${what} is reverted`, async () => {
      // Kubernetes has no strategic merge for what it takes as a whole.
      const type = kind === "networkpolicy" || kind === "ingress" ? "merge" : "strategic";
      const printed = await kubectl("patch", "-n", service.namespace, kind, name, `--type=${type}`, "-p", JSON.stringify(patch), "-o", "json");
      const edited = JSON.parse(printed);
      assert.notDeepEqual(wish(edited), before[title(edited)], "the edit took place");
      await as(before[title(edited)], service.namespace, kind, name);
    });
  }

  await s.step("the pods kept serving meanwhile", async () => {
    assert.deepEqual(disconnects, []);
    await service.serves();
  });

  for (const kind of KINDS.filter((one) => one !== "deployment").concat("deployment")) {
    await s.step(`a deleted ${kind} is recreated`, async () => {
      const objects = (await owned(service.namespace, NAME)).filter((o) => o.kind.toLowerCase() === kind);
      assert.ok(objects.length > 0);
      for (const object of objects) {
        await kubectl("delete", "-n", service.namespace, kind, object.metadata.name, "--wait=false");
        const anew = await as(before[title(object)], service.namespace, kind, object.metadata.name, object.metadata.uid);
        assert.notEqual(anew.metadata.uid, object.metadata.uid);
      }
    });
  }

  await s.step("all objects are as before, and the service works", async () => {
    await until("it serves again", () => service.serves());
    assert.deepEqual(wishes(await owned(service.namespace, NAME)), before);
    await until("nothing is degraded", () => isAsAsked(service.namespace));
  });
});

/** Resources that the API server rejects, each with what the error must contain. */
const REDIS = { url: "redis://redis:6379" };
const REFUSED = [
  ["a misspelt field", { replica: { min: 2 } }, 'unknown field "spec.replica"'],
  ["a misspelt key of the configuration", { config: { limit: {} } }, 'unknown field "spec.config.limit"'],
  ["no pods", { replicas: { min: 0, max: 1 } }, "spec.replicas.min"],
  ["min above max", { redis: REDIS, replicas: { min: 5, max: 2 } }, "spec.replicas: Invalid value.*min is above max"],
  ["several pods without Redis", { replicas: { min: 2 } }, "more than one replica needs redis"],
  ["redis without a URL", { redis: {} }, "spec.redis: Invalid value.*url or urlSecret"],
  ["two URLs in redis", { redis: { ...REDIS, urlSecret: { name: "redis" } } }, "spec.redis: Invalid value.*url or urlSecret"],
  ["a Redis URL in redis and in config", { redis: REDIS, config: { redis: REDIS } }, "config.redis.url: leave one out"],
  ["a port out of range", { redis: { urlSecret: { name: "redis", port: 70000 } } }, "spec.redis.urlSecret.port"],
  ["zero connections per pod", { autoscaling: { connectionsPerPod: 0 } }, "spec.autoscaling.connectionsPerPod"],
  ["an unknown source of metrics", { autoscaling: { metrics: "prometheus" } }, 'spec.autoscaling.metrics.*"builtin", "external"'],
  ["an unknown ingress controller", { ingress: { controller: "nginx" } }, 'spec.ingress.controller.*"traefik", "haproxy"'],
  ["an invalid duration", { drain: { lead: "soon" } }, "spec.drain.lead"],
  ["an invalid size", { config: { limits: { queue: "much" } } }, "spec.config.limits.queue"],
  ["an unknown transport", { config: { socketio: { transports: ["pigeon"] } } }, "spec.config.socketio.transports"],
  ["a relative mount path", { secrets: [{ secretName: "keys", mountPath: "keys" }] }, "spec.secrets\\[0\\].mountPath"],
  ["a Secret without a name", { secrets: [{ mountPath: "/etc/keys" }] }, "spec.secrets\\[0\\].secretName"],
  ["an invalid pull policy", { podTemplate: { imagePullPolicy: "Sometimes" } }, "spec.podTemplate.imagePullPolicy"],
];

scenario("the API server rejects invalid resources", async (s) => {
  const namespace = await namespaces.create("refused");
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  await operator.ensure();
  const refused = (spec, words) =>
    // Of a list, kubectl would check the fields by itself.
    assert.rejects(apply(JSON.stringify(rookery(namespace, NAME, spec))), (error) => {
      // A message of the API server has line breaks where it lists more than one thing.
      assert.match(error.message, new RegExp(words, "s"));
      return true;
    });

  for (const [what, spec, words] of REFUSED) {
    await s.step(what, () => refused(spec, words));
  }

  await s.step("none of them exists", async () => {
    assert.deepEqual(await all(namespace, "rookeries"), []);
  });

  await s.step("the settings by which pods communicate are immutable", async () => {
    // Made for no node, so that no server starts.
    const spec = { redis: REDIS, podTemplate: { nodeSelector: { none: "none" } } };
    const changed = async (before, after, words) => {
      await apply(rookery(namespace, NAME, { ...spec, config: { auth: { anonymous: true }, redis: before } }));
      await refused({ ...spec, config: { auth: { anonymous: true }, redis: after } }, words);
      await kubectl("delete", "rookery", "-n", namespace, NAME);
    };
    for (const after of [{ prefix: "other" }, { wire: "sharded" }]) {
      await changed({}, after, "config.redis.wire and config.redis.prefix cannot change");
    }
    const after = { wire: "sharded", subscriptionMode: "dynamic-private" };
    await changed({ wire: "sharded" }, after, "config.redis.subscriptionMode cannot change");
  });
});

/** Errors that only the operator detects, with the field that the condition must name. */
const INVALID = [
  ["two Secrets in one folder", { secrets: [{ secretName: "a", mountPath: "/k" }, { secretName: "b", mountPath: "/k/" }] }, "spec.secrets\\[1\\].mountPath:"],
  ["requests above limits", { resources: { requests: { memory: "1Gi" }, limits: { memory: "512Mi" } } }, "spec.resources.requests.memory:"],
  ["both listeners on one port", { config: { auth: { anonymous: true }, listen: "0.0.0.0:9090" } }, "spec.config.internal:"],
  ["a stabilization beyond the autoscaler's", { autoscaling: { stabilization: "2h" } }, "spec.autoscaling.stabilization:"],
  ["a rule that does not parse", { config: { auth: { anonymous: true }, rooms: [{ match: "{app}", join: "app in (" }] } }, "spec.config.rooms"],
];

scenario("the operator reports errors that the API server cannot detect", async (s) => {
  const service = await Service.start(s, "invalid");
  const before = wishes(await owned(service.namespace, NAME));
  const client = await service.client(s);
  const disconnects = [];
  client.on("disconnect", (reason) => disconnects.push(reason));

  for (const [what, spec, field] of INVALID) {
    await s.step(`${what}: the condition Degraded names the field`, async () => {
      await service.apply(spec);
      const degraded = await until("it is degraded", async () => {
        const found = await condition(service.namespace, NAME, "Degraded");
        return found?.status === "True" && found.reason === "Invalid" && found;
      });
      assert.match(degraded.message, new RegExp(`^${field}`, "m"));
    });
  }

  await s.step("the last valid state still exists and works", async () => {
    assert.deepEqual(wishes(await owned(service.namespace, NAME)), before);
    assert.deepEqual(disconnects, []);
    await service.serves();
    const events = await all(service.namespace, "events");
    assert.ok(events.some(({ reason, type, involvedObject }) => reason === "Invalid" && type === "Warning" && involvedObject.kind === "Rookery"));
  });

  await s.step("once fixed, the resource is no longer degraded", async () => {
    await service.apply({});
    await until("it is no longer", () => isAsAsked(service.namespace));
    assert.deepEqual(wishes(await owned(service.namespace, NAME)), before);
  });
});

scenario("resources of the same name in two namespaces are independent", async (s) => {
  const one = await Service.start(s, "one");
  const other = await Service.start(s, "other");
  const untouched = await owned(other.namespace, NAME);
  const client = await other.client(s);
  const disconnects = [];
  client.on("disconnect", (reason) => disconnects.push(reason));

  await s.step("a change to one resource affects only that one", async () => {
    await one.apply({ podTemplate: { env: { RUST_LOG: "debug" } }, autoscaling: { connectionsPerPod: 77 } });
    await until("the one has changed", async () => {
      const hpa = await get(one.namespace, "horizontalpodautoscaler", NAME);
      return hpa.spec.metrics[0].pods.target.averageValue === "77";
    });
    await kubectl("delete", "-n", one.namespace, "service", NAME, "--wait=false");
    await until("its Service is back", () => get(one.namespace, "service", NAME));
  });

  await s.step("deleting one resource removes everything created for it", async () => {
    await kubectl("delete", "rookery", NAME, "-n", one.namespace, "--wait=false");
    await until("nothing is left", async () => {
      assert.deepEqual((await everything(one.namespace)).filter((name) => !BY_KUBERNETES.includes(name)), []);
      return true;
    });
  });

  await s.step("the other one is unchanged, object by object", async () => {
    const after = await owned(other.namespace, NAME);
    assert.deepEqual(wishes(after), wishes(untouched));
    const versions = (objects) => Object.fromEntries(objects.map((o) => [title(o), [o.metadata.uid, o.metadata.generation]]));
    assert.deepEqual(versions(after), versions(untouched));
    assert.deepEqual(disconnects, []);
    await other.serves();
  });
});

scenario("an object of the same name is not managed by the operator", async (s) => {
  await operator.ensure();
  const namespace = await namespaces.create("taken");
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  await apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace, name: NAME, labels: { app: "mine" } },
    spec: { selector: { app: "mine" }, ports: [{ port: 80 }] },
  });
  const theirs = await get(namespace, "service", NAME);

  await s.step("the object is left alone, and the condition says so", async () => {
    await apply(rookery(namespace, NAME, { image: ROOKERY }));
    const degraded = await until("it is degraded", async () => {
      const found = await condition(namespace, NAME, "Degraded");
      return found?.status === "True" && found;
    });
    assert.equal(degraded.reason, "NameTaken");
    assert.match(degraded.message, /^Service chat exists and is not this resource's/);
    assert.deepEqual(await get(namespace, "service", NAME), theirs);
  });

  await s.step("once it is deleted, the operator creates its own", async () => {
    await kubectl("delete", "-n", namespace, "service", NAME);
    await until("all is as asked", () => isAsAsked(namespace));
    const ours = await get(namespace, "service", NAME);
    assert.equal(ours.metadata.ownerReferences[0].kind, "Rookery");
  });
});

/** A resource in a namespace of its own, with a host behind the ingress. */
class Service {
  static async start(s, topic) {
    const service = new Service();
    await operator.ensure();
    service.namespace = await namespaces.create(topic);
    service.host = `${NAME}.${service.namespace}.test`;
    service.ingress = await ingress();
    s.watch(service.namespace);
    s.atEnd(() => namespaces.remove(service.namespace));
    await service.apply({});
    await until("it serves", () => service.serves());
    await until("it is rolled out", async () => (await condition(service.namespace, NAME, "Progressing"))?.reason === "RolledOut");
    return service;
  }

  apply(spec) {
    return apply(
      rookery(this.namespace, NAME, {
        image: ROOKERY,
        ingress: { className: "traefik", host: this.host, annotations: { "example.com/team": "chat" } },
        drain: { lead: "1s", window: "2s" },
        ...spec,
      }),
    );
  }

  async client(s) {
    const socket = await connected(this.ingress, this.host, WEBSOCKET);
    s.atEnd(async () => socket.close());
    return socket;
  }

  /** A new client gets in; else an error. */
  async serves() {
    const socket = await connected(this.ingress, this.host, WEBSOCKET, { patience: 5_000 });
    socket.close();
    return true;
  }
}

/** Whether all of a resource could be had; that it lets everybody in may be told of all the same. */
async function isAsAsked(namespace) {
  return (await condition(namespace, NAME, "Degraded"))?.status === "False";
}

/** Waits until an object is as it is wished, and no longer the one of `gone`; gives it. */
async function as(wished, namespace, kind, name, gone) {
  return until(
    `${kind} ${name} is as asked`,
    async () => {
      const object = await get(namespace, kind, name);
      if (object.metadata.uid === gone) return false;
      assert.deepEqual(wish(object), wished);
      return object;
    },
    { patience: SOON, every: 100 },
  );
}

/** What Kubernetes puts into every namespace. */
const BY_KUBERNETES = ["configmap/kube-root-ca.crt", "serviceaccount/default"];

/** The names of everything that a namespace holds, but events. */
async function everything(namespace) {
  const kinds = await kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name");
  const asked = kinds.split("\n").filter((kind) => kind !== "" && !/^events|metrics/.test(kind));
  const printed = await kubectl("get", "-n", namespace, asked.join(","), "-o", "name", "--ignore-not-found");
  return printed.split("\n").filter((name) => name !== "");
}
