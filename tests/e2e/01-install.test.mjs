// The operator's chart and one of a service on an empty cluster: a service within 90 seconds, rooms
// across its pods, changes by `helm upgrade`, and only the CRD left after both are uninstalled.
import assert from "node:assert/strict";
import { POLLING, UPGRADE, WEBSOCKET, ask, collect, join, podOf } from "./harness/clients.mjs";
import { CHART, OPERATOR_CHART, helmWith } from "./harness/helm.mjs";
import { all, apply, kubectl } from "./harness/kubectl.mjs";
import { NAME, Release } from "./harness/release.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { PATIENCE, until, within } from "./harness/until.mjs";

const KEY = "e2e-key-of-the-backend";

scenario("helm install on an empty cluster", async (s) => {
  await operator.remove();
  if ((await everywhere("rookeries")).length === 0) {
    await kubectl("delete", "crd", "rookeries.rookery.dev", "--ignore-not-found");
  }
  const before = await clusterScoped();
  const release = await Release.prepare(s, "install");
  await apply({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "api-keys", namespace: release.namespace },
    stringData: { keys: `backend:${KEY}\n` },
  });
  const held = await objects(release.namespace);

  await s.step("the first clients connect within 90 s", async () => {
    const began = Date.now();
    await operator.install();
    await release.install({
      secrets: [{ secretName: "api-keys", mountPath: "/etc/keys" }],
      config: { auth: { apiKeysFile: "/etc/keys/keys" } },
    });
    const firsts = [UPGRADE, WEBSOCKET].map((transports) =>
      until(
        `the first client by ${transports.join(" then ")}`,
        () => release.client(s, transports, { patience: 10_000 }),
        { patience: PATIENCE - (Date.now() - began) },
      ),
    );
    await Promise.all(firsts);
    s.note(`first clients after ${Math.round((Date.now() - began) / 1000)} s`);
    await release.ready();
    await release.linked();
  });

  await s.step("the ingress routes polling clients to the same pod with a cookie", async () => {
    const { status, headers } = await release.request("/socket.io/?EIO=4&transport=polling");
    assert.equal(status, 200);
    assert.match(String(headers["set-cookie"]), /^rookery=[^;]+;.*HttpOnly/i);
    for (let n = 0; n < 10; n++) {
      const socket = await release.client(s, POLLING);
      await join(socket, "sticky");
      socket.close();
    }
  });

  const ids = { workspaceId: "acme", appId: 7 };
  let members;
  await s.step("a room has members on both pods and receives publications from every kind of publisher", async () => {
    members = await onBothPods(s, release);
    const heard = members.map((member) => collect(member, "application_event"));
    for (const member of members) {
      const answers = collect(member, "application_response");
      member.emit("application", { event: "SUBSCRIBE", payload: ids });
      await until("SUBSCRIBE is answered", () => answers.length > 0);
      assert.deepEqual(answers[0], [{ status: "SUCCESS", event: "SUBSCRIBE", payload: ids }]);
    }
    const publication = { room: "acme:7", event: "application_event" };
    await ask(members[0], "publish", { ...publication, data: { by: "client" } });
    const [pod] = await release.pods();
    const response = await fetch(`${await pod.internal()}/api/publish`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
      body: JSON.stringify({ ...publication, args: [{ by: "api" }] }),
    });
    assert.equal(response.status, 200);
    assert.equal((await response.json()).scope, "cluster");
    const bridged = JSON.stringify({ ...ids, payload: { by: "bridge" } });
    await kubectl("exec", "-n", release.namespace, `deploy/${NAME}-redis`, "--", "redis-cli", "publish", "rookery:publish", bridged);
    for (const [n, arrived] of heard.entries()) {
      await until(
        () => `member ${n} hears all three: ${JSON.stringify(arrived)}`,
        () => ["client", "api", "bridge"].every((by) => arrived.some(([payload]) => payload.by === by)),
      );
      assert.equal(arrived.length, 3);
    }
  });

  await s.step("helm upgrade applies new limits without a restart", async () => {
    const pods = (await release.pods()).map((pod) => pod.name).sort();
    await release.upgrade({ config: { rooms: [{ match: "{workspace}:{app}" }, { match: "open" }] } });
    // The kubelet brings a changed ConfigMap to its pods within about a minute.
    await until(
      "both pods refuse a room that no rule names",
      async () => {
        const answers = await Promise.all(members.map((m) => ask(m, "join", { room: "elsewhere" })));
        return answers.every(({ status, error }) => status === "ERROR" && error.code === "forbidden");
      },
      { patience: 150_000, every: 1000 },
    );
    await join(members[0], "open");
    assert.deepEqual((await release.pods()).map((pod) => pod.name).sort(), pods);
    assert.ok(members.every((member) => member.connected));
  });

  await s.step("helm upgrade applies changes that need a restart one pod at a time", async () => {
    const pods = (await release.pods()).map((pod) => pod.name);
    await release.upgrade({ config: { socketio: { pingInterval: "7s" } } });
    await until(
      "both pods are new",
      async () => (await release.ready()).every((pod) => !pods.includes(pod.name)),
      { patience: 180_000 },
    );
    const { body } = await release.request("/socket.io/?EIO=4&transport=polling");
    assert.equal(JSON.parse(body.slice(1)).pingInterval, 7000);
  });

  await s.step("a release that does not say who may connect is refused", async () => {
    const installed = helmWith({}, "install", "unsaid", CHART, "--namespace", release.namespace);
    await assert.rejects(installed, /config\.auth\.jwt.*anonymous=true/s);
  });

  await s.step("a second operator is refused with a message that says where the first one is", async () => {
    const namespace = await namespaces.create("second");
    s.atEnd(() => namespaces.remove(namespace));
    await assert.rejects(helmWith({}, "install", "second", OPERATOR_CHART, "--namespace", namespace), (error) => {
      assert.match(error.message, new RegExp(`from the release "${operator.RELEASE}" in the namespace "${operator.NAMESPACE}"`));
      assert.match(error.message, /watchNamespaces/);
      return true;
    });
  });

  await s.step("the service's uninstall leaves the operator, and the operator's only the CRD", async () => {
    for (const member of members) member.close();
    await release.uninstall();
    await operator.pods();
    await operator.remove();
    const patience = 90_000;
    await until("the namespace holds what it held before", async () => {
      const left = (await objects(release.namespace)).filter((name) => !held.includes(name));
      assert.deepEqual(left, []);
      return true;
    }, { patience, every: 1000 });
    await until("the cluster holds what it held before, and the definition", async () => {
      const left = (await clusterScoped()).filter((name) => !before.includes(name));
      assert.deepEqual(left, ["customresourcedefinition/rookeries.rookery.dev"].filter((name) => !before.includes(name)));
      return true;
    }, { patience, every: 1000 });
    await kubectl("get", "crd", "rookeries.rookery.dev");
    await within("the namespace goes", namespaces.remove(release.namespace), 60_000);
  });
});

/** Two clients that different pods hold. */
async function onBothPods(s, release) {
  const first = await release.client(s, UPGRADE);
  const second = await until("a client comes to the other pod", async () => {
    const socket = await release.client(s, WEBSOCKET);
    if (podOf(socket) !== podOf(first)) return socket;
    socket.close();
  });
  return [first, second];
}

async function everywhere(kind) {
  const printed = await kubectl("get", kind, "-A", "-o", "name").catch(() => "");
  return printed.split("\n").filter((name) => name !== "");
}

/** The names of everything that a namespace holds, but events and what Kubernetes puts there. */
async function objects(namespace) {
  const kinds = await kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name");
  const asked = kinds.split("\n").filter((kind) => kind !== "" && !/^(events|leases\.coordination)|metrics/.test(kind));
  const printed = await kubectl("get", "-n", namespace, asked.join(","), "-o", "name", "--ignore-not-found");
  return printed.split("\n").filter((name) => name !== "");
}

/** The names of everything of a cluster's whole that a release may make. */
async function clusterScoped() {
  const names = [];
  for (const kind of ["customresourcedefinition", "apiservice", "clusterrole", "clusterrolebinding",
    "validatingwebhookconfiguration", "mutatingwebhookconfiguration", "priorityclass"]) {
    const items = await all("default", kind);
    names.push(...items.map((item) => `${kind}/${item.metadata.name}`));
  }
  // Kubernetes makes an APIService of its own for the definition's group.
  return names.filter((name) => name !== "apiservice/v1alpha1.rookery.dev");
}
