// The API server is unavailable for a minute: old and new clients are not affected; afterwards the
// operator continues where it was.
import assert from "node:assert/strict";
import { UPGRADE } from "./harness/clients.mjs";
import { get, kubectl, raw } from "./harness/kubectl.mjs";
import { NAME, Release } from "./harness/release.mjs";
import { Newcomers } from "./harness/newcomers.mjs";
import * as nodes from "./harness/nodes.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { ROOM } from "./harness/swarm.mjs";
import { pause, until } from "./harness/until.mjs";

const CLIENTS = 60;
const AWAY = 60_000;

const skip = await nodes.closed();

scenario("the API server is stopped for a minute", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "apiserver", { replicas: { min: 2, max: 2 } });
  await release.ready(2);
  const swarm = release.swarm(s);
  await swarm.grow(CLIENTS);
  assert.equal(swarm.byPod().size, 2);
  const publisher = await release.client(s, UPGRADE);
  const server = await nodes.ApiServer.find();
  const newcomers = new Newcomers(release);
  s.atEnd(() => newcomers.stop());
  s.atEnd(() => server.start());
  let last = 0;

  await s.step("meanwhile every client receives messages, and new clients connect", async () => {
    await server.stop();
    const stopped = Date.now();
    const came = newcomers.came.length;
    while (Date.now() < stopped + AWAY) {
      const answer = await publisher.emitWithAck("publish", { room: ROOM, event: "tick", data: ++last });
      assert.equal(answer.status, "SUCCESS");
      await until(`all hear ${last}`, () => swarm.members.every(({ heard }) => heard.at(-1) === last));
      await pause(500);
    }
    const during = newcomers.came.slice(came);
    s.note(`${last} messages, ${during.length} new clients while it was away`);
    assert.ok(during.length > 0);
    assert.equal(new Set(during.map(({ pod }) => pod)).size, 2, "new clients came to both pods");
    await assert.rejects(kubectl("get", "--raw", "/readyz", "--request-timeout=2s"));
    await server.start();
  });

  await s.step("afterwards the operator reverts a manual edit", async () => {
    const selector = async () => (await get(release.namespace, "service", NAME)).spec.selector;
    const before = await selector();
    const patch = JSON.stringify({ metadata: { labels: { "app.kubernetes.io/managed-by": "somebody" } } });
    await until("the API server takes a change", async () => {
      await kubectl("patch", "-n", release.namespace, "service", NAME, "--type=merge", "-p", patch);
      return true;
    });
    await until("it is put right", async () => {
      const { metadata } = await get(release.namespace, "service", NAME);
      return metadata.labels["app.kubernetes.io/managed-by"] === "rookery-operator";
    });
    assert.deepEqual(await selector(), before);
  });

  await s.step("the autoscaler's metrics are served again and are current", async () => {
    swarm.leave(swarm.members.slice(0, CLIENTS / 2));
    await newcomers.stop();
    const path = `/apis/custom.metrics.k8s.io/v1beta2/namespaces/${release.namespace}/pods/*/rookery_connections`;
    await until("they count the clients that are left", async () => {
      const { items } = await raw(path);
      return items.length === 2 && items.reduce((sum, { value }) => sum + Number(value), 0) === CLIENTS / 2 + 1;
    });
    await until("the resource counts them too", async () => (await release.resource()).status.connections === CLIENTS / 2 + 1);
  });

  await s.step("no pod was replaced, no client was disconnected, and no new client was refused", async () => {
    for (const pod of await release.ready(2)) {
      assert.equal(pod.object.status.containerStatuses[0].restartCount, 0);
    }
    assert.deepEqual(swarm.members.filter(({ disconnects }) => disconnects.length > 0), []);
    assert.ok(publisher.connected);
    assert.deepEqual(newcomers.refused, []);
    for (const { heard } of swarm.members) assert.deepEqual(heard, Array.from({ length: last }, (_, n) => n + 1));
  });
}, { skip });
