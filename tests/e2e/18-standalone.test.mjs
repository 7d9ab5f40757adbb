// A team that has nothing but the built-in role `edit` in one namespace runs a service without an
// operator: by helm, and by `helm template | kubectl apply`.
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { ask, join } from "./harness/clients.mjs";
import { CHART, helm, merged } from "./harness/helm.mjs";
import { REDIS, ROOKERY, parts } from "./harness/images.mjs";
import { all, apply } from "./harness/kubectl.mjs";
import { scenario } from "./harness/scenario.mjs";
import { NAME, Team } from "./harness/team.mjs";
import { until } from "./harness/until.mjs";

/** What a release consists of, but its pods, ReplicaSets and EndpointSlices, which Kubernetes makes. */
const KINDS = [
  "deployments", "services", "configmaps", "serviceaccounts", "networkpolicies", "poddisruptionbudgets",
  "horizontalpodautoscalers", "ingresses",
].join(",");

/** The sets of values that tests/standalone.rs compares with the operator's objects. */
const SETS = new URL("../standalone/values/", import.meta.url);

/** The values of a service with two pods and a Redis, with these. */
function values(team, more = {}) {
  return merged(
    {
      rookery: { standalone: true },
      image: parts(ROOKERY),
      redis: { demo: true, image: REDIS },
      replicas: { min: 2, max: 2 },
      ingress: { host: team.host, className: "traefik" },
      anonymous: true,
      drain: { lead: "1s", window: "2s" },
      tests: { ingressAddress: "traefik.traefik.svc" },
    },
    more,
  );
}

/** The objects of the service. */
function objects(team) {
  return all(team.namespace, KINDS, `app.kubernetes.io/instance=${NAME}`);
}

scenario("a team with the role edit in one namespace runs a service without an operator, by helm", async (s) => {
  const team = await Team.start(s, "alone");
  let current = values(team);
  const upgrade = (more) => {
    current = merged(current, more);
    return team.release("upgrade", current);
  };
  let pods;
  let member;

  await s.step("it may do nothing in the cluster", async () => {
    const may = await team.kubectl(["auth", "can-i", "get", "clusterroles"]).catch((error) => error.message);
    assert.match(may, /no/);
  });

  await s.step("a configuration that the servers would refuse is refused before anything is made", async () => {
    const bad = merged(current, { config: { rooms: [{ match: "a", join: "claims.(", publish: "false" }] } });
    await assert.rejects(team.release("install", bad), /pre-install/);
    const said = await team.kubectl(["logs", "-l", "app.kubernetes.io/component=check", "--tail=-1"]);
    assert.match(said, /rooms/);
    assert.deepEqual(await all(team.namespace, "deployments", ""), []);
    await team.helm(undefined, "uninstall", NAME);
    await team.kubectl(["delete", "jobs", "-l", "app.kubernetes.io/component=check"]);
  });

  await s.step("helm install: the pods become ready, and a client gets in", async () => {
    await team.release("install", current);
    pods = await team.isReady();
    member = await team.client();
    s.atEnd(async () => member.close());
    await join(member, "lobby");
  });

  await s.step("nothing was made of a Rookery, and no check is left", async () => {
    const manifest = await team.helm(undefined, "get", "manifest", NAME);
    assert.doesNotMatch(manifest, /kind: (Rookery|Cluster)/);
    assert.deepEqual(await all(team.namespace, "jobs", ""), []);
  });

  await s.step("an upgrade with the same values changes nothing", async () => {
    const { generation } = (await team.object("deployment")).metadata;
    await team.release("upgrade", current);
    assert.equal((await team.object("deployment")).metadata.generation, generation);
    assert.deepEqual(await team.isReady(), pods);
  });

  await s.step("rules of rooms are applied without new pods", async () => {
    await upgrade({ config: { rooms: [{ match: "open" }] } });
    // The kubelet brings a changed ConfigMap to its pods within about a minute.
    await until(
      "the member is refused a room that no rule names",
      async () => {
        const { status, error } = await ask(member, "join", { room: "elsewhere" });
        return status === "ERROR" && error.code === "forbidden";
      },
      { patience: 150_000, every: 1000 },
    );
    assert.deepEqual(await team.isReady(), pods);
    assert.ok(member.connected);
  });

  await s.step("what needs a restart is rolled out", async () => {
    await upgrade({ config: { socketio: { pingInterval: "7s" } } });
    const now = await team.isReady();
    assert.ok(now.every((name) => !pods.includes(name)), now.join(" "));
    pods = now;
    (await team.client()).close();
  });

  await s.step("another image is rolled out, and one that cannot be pulled takes no pod away", async () => {
    // Its check could not run either.
    const image = merged(current, { image: { tag: "missing", pullPolicy: "Never" }, check: { enabled: false } });
    await team.release("upgrade", image);
    await until("a pod with the new image is made", async () => {
      const made = (await team.pods()).filter(({ metadata }) => !pods.includes(metadata.name));
      return made.some(({ spec }) => spec.containers[0].image.endsWith(":missing"));
    });
    (await team.client()).close();
    await team.release("upgrade", current);
    assert.deepEqual(await team.isReady(), pods);
  });

  await s.step("a change of the prefix in Redis is refused", async () => {
    const split = merged(current, { config: { redis: { prefix: "other" } } });
    await assert.rejects(team.release("upgrade", split), /config\.redis\.prefix cannot change/);
  });

  await s.step("helm test passes", async () => {
    const tested = await team.helm(undefined, "test", NAME, "--timeout", "150s");
    assert.match(tested, /Phase: +Succeeded/);
  });

  await s.step("helm uninstall removes it", async () => {
    await team.helm(undefined, "uninstall", NAME);
    await until("nothing is left", async () => (await objects(team)).length === 0);
  });
});

scenario("a team with the role edit in one namespace runs a service without an operator, by kubectl", async (s) => {
  const team = await Team.start(s, "alone");
  const template = (more) =>
    team.helm(values(team, more), "template", NAME, CHART, "--skip-tests", "--kube-version", "1.34.0");
  const applied = (manifest) => team.kubectl(["apply", "--server-side", "-f", "-"], manifest);
  const manifest = await template();

  await s.step("kubectl apply: the pods become ready, and a client gets in", async () => {
    await applied(manifest);
    await team.isReady();
    (await team.client()).close();
  });

  await s.step("a second apply changes nothing", async () => {
    // The status of the others has its own pace.
    const state = async () => {
      const found = await objects(team);
      const still = ["Service", "ConfigMap", "ServiceAccount", "NetworkPolicy"];
      return found.map(({ kind, metadata }) => {
        const version = still.includes(kind) ? metadata.resourceVersion : metadata.generation;
        return `${kind} ${metadata.name} ${version}`;
      });
    };
    const before = await state();
    assert.ok(before.length >= 8, before.join("\n"));
    await applied(manifest);
    assert.deepEqual(await state(), before);
    await team.kubectl(["diff", "--server-side", "-f", "-"], manifest);
  });

  await s.step("another apply changes it", async () => {
    await applied(await template({ podTemplate: { labels: { team: "chat" } } }));
    await team.isReady();
    const pods = await team.pods();
    assert.ok(pods.every(({ metadata }) => metadata.labels.team === "chat"));
  });

  await s.step("kubectl delete removes it", async () => {
    await team.kubectl(["delete", "-f", "-"], manifest);
    await until("nothing is left", async () => (await objects(team)).length === 0);
  });
});

scenario("the API server accepts a service without an operator, for every set of values", async (s) => {
  const team = await Team.start(s, "printed");
  // KEDA and the Gateway API are not in this cluster.
  const files = (await readdir(SETS)).filter((file) => !/keda|gateway/.test(file));
  assert.ok(files.length >= 30, files.join(" "));
  for (const file of files.sort()) {
    await s.step(file, async () => {
      const set = ["--values", new URL(file, SETS).pathname, "--set", "rookery.standalone=true"];
      const where = ["--namespace", team.namespace, "--kube-version", "1.34.0"];
      // The pod of `helm test` wants a priority class that this cluster does not have.
      const manifest = await helm("template", NAME, CHART, "--skip-tests", ...where, ...set);
      const printed = await apply(manifest, "--dry-run=server", "--server-side");
      const count = printed.split("\n").filter((line) => line.endsWith("(server dry run)")).length;
      assert.equal(count, manifest.split("\n").filter((line) => line.startsWith("kind: ")).length, printed);
    });
  }
});
