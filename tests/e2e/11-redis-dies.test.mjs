// Redis is killed and comes back: clients stay connected, each pod serves its own clients, the status
// reports it, and rooms span pods again once Redis is back.
import assert from "node:assert/strict";
import * as api from "./harness/api.mjs";
import { WEBSOCKET, collect, join } from "./harness/clients.mjs";
import { all, kubectl } from "./harness/kubectl.mjs";
import { NAME } from "./harness/release.mjs";
import * as nodes from "./harness/nodes.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { ROOM } from "./harness/swarm.mjs";
import { until } from "./harness/until.mjs";

const CLIENTS = 60;
const REDIS = `${NAME}-redis`;

scenario("Redis is killed", async (s) => {
  await operator.ensure();
  const release = await api.install(s, "redis", { replicas: { min: 2, max: 2 } });
  const pods = await release.ready(2);
  const [here] = pods;
  const swarm = release.swarm(s);
  await swarm.grow(CLIENTS);
  const id = await here.id();
  const near = swarm.members.filter((member) => member.pod === id);
  const far = swarm.members.filter((member) => member.pod !== id);
  assert.ok(near.length > 0 && far.length > 0, `the pods hold ${[...swarm.byPod().values()]}`);

  let last = 0;
  const say = () => api.ask(here, "/api/publish", { room: ROOM, event: "tick", args: [++last] });
  const heard = (members) =>
    until(`${members.length} clients hear ${last}`, () => members.every((member) => member.heard.includes(last)));
  const up = (value) =>
    until(
      `rookery_redis_up is ${value} on both pods`,
      async () => (await Promise.all(pods.map((pod) => pod.metric("rookery_redis_up")))).every((n) => n === value),
    );
  const reachable = (status) =>
    until(`the resource's RedisReachable is ${status}`, async () => {
      const { conditions } = (await release.resource()).status;
      return conditions.find(({ type }) => type === "RedisReachable").status === status;
    });
  /** Rooms cross servers again: from here all hear what is said, each once. */
  const crosses = () =>
    until("what is said here is heard by all", async () => {
      const { scope } = await say();
      const said = last;
      await until("all hear it", () => swarm.members.every((member) => member.heard.includes(said)), { patience: 5_000 });
      return scope === "cluster";
    });

  await s.step("with Redis, a message published on one pod reaches both", async () => {
    await up(1);
    await reachable("True");
    const { scope } = await say();
    assert.equal(scope, "cluster");
    await heard(swarm.members);
  });

  await s.step("when Redis is killed, the pods detect it and the resource reports it", async () => {
    await kubectl("scale", "-n", release.namespace, `deployment/${REDIS}`, "--replicas=0");
    await kubectl("delete", "pods", "-n", release.namespace, "-l", "app.kubernetes.io/component=redis-demo", "--force", "--grace-period=0");
    await up(0);
    await reachable("False");
  });

  await s.step("each pod keeps delivering to its own clients and reports local scope", async () => {
    const answer = await say();
    assert.equal(answer.scope, "local");
    assert.equal(answer.members, near.length);
    await heard(near);
    assert.deepEqual(far.filter((member) => member.heard.includes(last)), []);
  });

  await s.step("new clients connect and are answered", async () => {
    const socket = await release.client(s, WEBSOCKET);
    await join(socket, "made-without-redis");
    const arrived = collect(socket, "greeting");
    const answer = await socket.emitWithAck("publish", { room: "made-without-redis", event: "greeting", data: "hello" });
    assert.equal(answer.status, "SUCCESS");
    await until("it hears itself", () => arrived.length > 0);
    assert.equal((await release.ready(2)).length, 2);
  });

  await s.step("when Redis is back, rooms span pods again, including new ones", async () => {
    await kubectl("scale", "-n", release.namespace, `deployment/${REDIS}`, "--replicas=1");
    await up(1);
    await reachable("True");
    await crosses();
    const rooms = await Promise.all((await release.pods()).map((pod) => api.ask(pod, "/api/rooms?prefix=made")));
    for (const answer of rooms) assert.deepEqual(answer, { rooms: [{ room: "made-without-redis", members: 1 }], unanswered: [] });
  });

  await s.step("when the Redis process restarts at once, rooms span pods again", async () => {
    const [pod] = await all(release.namespace, "pods", "app.kubernetes.io/component=redis-demo");
    const before = await Promise.all(pods.map((server) => server.metric("rookery_redis_reconnects_total")));
    const closed = await nodes.closed();
    if (closed) {
      s.note(`the pod is deleted by force, not killed: ${closed}`);
      await kubectl("delete", "pod", "-n", release.namespace, pod.metadata.name, "--force", "--grace-period=0");
    } else {
      await nodes.signal(pod, "redis-server", "KILL");
    }
    await until("both pods have connected again", async () => {
      const now = await Promise.all(pods.map((server) => server.metric("rookery_redis_reconnects_total")));
      return now.every((count, n) => count > before[n]);
    });
    await up(1);
    await crosses();
  });

  await s.step("no client was disconnected, and none received anything twice", async () => {
    assert.deepEqual(swarm.members.filter(({ disconnects }) => disconnects.length > 0), []);
    for (const member of swarm.members) assert.equal(new Set(member.heard).size, member.heard.length);
  });
});
