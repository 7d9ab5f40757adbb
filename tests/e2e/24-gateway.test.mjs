// Clients get in by the Gateway API, with Traefik as its implementation: by WebSocket to several pods,
// and by polling to one, as Traefik's Gateway provider keeps no client at a pod. The definitions come
// from the Go module of the Gateway API.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { POLLING, UPGRADE, WEBSOCKET, connected, podOf } from "./harness/clients.mjs";
import { REDIS, ROOKERY } from "./harness/images.mjs";
import { ingress } from "./harness/ingress.mjs";
import { apply, command, get, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { condition, rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const MODULE = "sigs.k8s.io/gateway-api@v1.6.3";

/** The kinds that Traefik watches. */
const KINDS = ["gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "referencegrants", "backendtlspolicies"];

/** The NodePort of fixtures/traefik-gateway.yaml. */
const PORT = 30081;

const go = await command("go", ["version"]).then(
  () => true,
  () => false,
);

/** The folder of the definitions of a channel. */
async function definitions(channel) {
  const { Dir } = JSON.parse(await command("go", ["mod", "download", "-json", MODULE], { patience: 300_000 }));
  return path.join(Dir, "config/crd", channel);
}

async function define(channel) {
  const folder = await definitions(channel);
  const files = KINDS.flatMap((kind) => ["-f", path.join(folder, `gateway.networking.k8s.io_${kind}.yaml`)]);
  await kubectl("apply", "--server-side", "--force-conflicts", ...files);
}

/** The Gateway from outside, at a node. */
async function gateway() {
  const found = await ingress();
  const jsonpath = '{.items[0].status.addresses[?(@.type=="InternalIP")].address}';
  const address = await kubectl("get", "nodes", "-o", `jsonpath=${jsonpath}`);
  return Object.assign(Object.create(Object.getPrototypeOf(found)), { address, port: PORT });
}

scenario(
  "clients get in by the Gateway API",
  async (s) => {
    await operator.ensure();
    const namespace = await namespaces.create("gateway");
    s.watch(namespace);
    s.atEnd(() => namespaces.remove(namespace));
    const host = `chat.${namespace}.test`;
    const spec = {
      image: ROOKERY,
      replicas: { min: 1, max: 1 },
      gateway: { parentRefs: [{ name: "public" }], hostnames: [host] },
      drain: { lead: "0s", window: "1s" },
    };

    await s.step("without the definitions, Warnings names the missing one and the rest is installed", async () => {
      await apply(rookery(namespace, "chat", spec));
      await until("the warning is there", async () => {
        const warnings = await condition(namespace, "chat", "Warnings");
        return warnings?.status === "True" && warnings.message.includes("httproutes.gateway.networking.k8s.io");
      });
      await kubectl("wait", "-n", namespace, "rookery/chat", "--for=condition=Ready", "--timeout=120s");
    });

    await s.step("with them, there is a route that the Gateway accepts", async () => {
      await define("experimental");
      s.atEnd(() => kubectl("delete", "crd", ...KINDS.map((kind) => `${kind}.gateway.networking.k8s.io`)));
      const text = readFileSync(new URL("fixtures/traefik-gateway.yaml", import.meta.url), "utf8");
      const image = process.env.E2E_TRAEFIK_IMAGE ?? "traefik:v3";
      await apply(text.replaceAll("E2E_NAMESPACE", namespace).replaceAll("E2E_TRAEFIK_IMAGE", image));
      s.atEnd(() => kubectl("delete", "clusterrole,clusterrolebinding", namespace));
      // The operator looks for optional kinds once a minute.
      await until("the route is accepted", async () => {
        const route = await get(namespace, "httproute", "chat");
        const conditions = route?.status?.parents?.[0]?.conditions ?? [];
        return conditions.some(({ type, status }) => type === "Accepted" && status === "True");
      }, { patience: 150_000 });
      const { rules } = (await get(namespace, "httproute", "chat")).spec;
      assert.equal(rules[0].timeouts.request, "0s");
      assert.equal(rules[0].sessionPersistence.sessionName, "rookery");
      await until("the warning is gone", async () => (await condition(namespace, "chat", "Warnings"))?.message.includes("httproutes") === false);
    });

    const entrance = await gateway();
    for (const transports of [WEBSOCKET, POLLING, UPGRADE]) {
      await s.step(`one pod: a client gets in by ${transports.join(" then ")}`, async () => {
        await until("it gets in", async () => {
          (await connected(entrance, host, transports, { patience: 10_000 })).close();
          return true;
        });
      });
    }

    await s.step("several pods: clients get in by WebSocket", async () => {
      await kubectl("create", "deployment", "redis", "-n", namespace, `--image=${REDIS}`);
      await kubectl("expose", "deployment", "redis", "-n", namespace, "--port=6379");
      const several = { ...spec, replicas: { min: 2, max: 2 }, redis: { host: "redis" } };
      const config = { auth: { anonymous: true }, socketio: { transports: ["websocket"] } };
      await apply(rookery(namespace, "chat", { ...several, config, gateway: { ...spec.gateway, sticky: false } }));
      await until("both pods are ready", async () => (await condition(namespace, "chat", "Ready"))?.status === "True", { patience: 180_000 });
      // Traefik learns of the new pods a moment after the operator.
      await until("clients get in at both pods", async () => {
        const connecting = Array.from({ length: 8 }, () => connected(entrance, host, WEBSOCKET));
        const clients = (await Promise.allSettled(connecting)).filter(({ value }) => value).map(({ value }) => value);
        const pods = new Set(clients.map(podOf));
        clients.forEach((client) => client.close());
        assert.equal(clients.length, connecting.length);
        assert.equal(pods.size, 2);
        return true;
      });
    });
  },
  { skip: go ? false : "the Gateway API's definitions are in a Go module, and there is no go" },
);
