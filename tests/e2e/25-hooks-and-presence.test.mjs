// Presence and room hooks of three pods in a rolling restart, when a pod is killed, and when Redis restarts with
// nothing: who is there, what the members were told, what the backend was told, and what the HTTP API says agree
// after each. A member that moves to another pod neither leaves nor joins.
import assert from "node:assert/strict";
import * as api from "./harness/api.mjs";
import { Crowd, Restless, sorted } from "./harness/crowd.mjs";
import { RoomsBackend } from "./harness/hooks.mjs";
import { all, kubectl } from "./harness/kubectl.mjs";
import * as nodes from "./harness/nodes.mjs";
import * as operator from "./harness/operator.mjs";
import { NAME } from "./harness/release.mjs";
import { scenario } from "./harness/scenario.mjs";
import { MIXED } from "./harness/swarm.mjs";
import { until } from "./harness/until.mjs";

const PODS = 3;
const STAYING = Array.from({ length: 12 }, (_, n) => `staying-${n}`);
const LEAVING = Array.from({ length: 9 }, (_, n) => `leaving-${n}`);
const RESTLESS = Array.from({ length: 6 }, (_, n) => `restless-${n}`);
const BUSY = ["busy:0", "busy:1", "busy:2"];

/** Longer than a client of a draining pod takes to come back on a slow machine. */
const LEAVE_DELAY = "15s";

/** How many events a failed assertion shows: to compare hundreds takes it many seconds, in which nobody is answered. */
const SHOWN = 5;

const address = await nodes.hostAddress();

scenario(
  "presence and room hooks in a rolling restart, a kill and a restart of Redis",
  async (s) => {
    await operator.ensure();
    const backend = await RoomsBackend.start(s, address);
    const crowd = new Crowd();
    const files = { jwt: crowd.secret, webhook: backend.key };
    const release = await api.install(s, "presence", values(backend), files);
    await release.ready(PODS);
    Crowd.of(s, release, crowd);
    let pods = await release.pods();

    STAYING.forEach((user, n) => crowd.add(user, MIXED[n % 3], `own:${user}`, `board:${n % 2}`, BUSY[n % 3]));
    // Some have a second tab.
    STAYING.slice(0, 4).forEach((user, n) => crowd.add(user, MIXED[(n + 1) % 3], `own:${user}`, BUSY[n % 3]));
    const leaving = LEAVING.map((user, n) => crowd.add(user, MIXED[n % 3], `own:${user}`, `board:${n % 2}`));
    const restless = RESTLESS.map((user, n) => crowd.add(user, MIXED[n % 3], BUSY[n % 3]));
    const rooms = [...crowd.truth().keys()];

    /** Waits until everybody agrees on who is where. */
    const agree = async () => {
      await crowd.settled();
      await until(() => `the members know who is there: ${crowd.mistakes().slice(0, 5).join("; ")}`, () => crowd.mistakes().length === 0);
      await until(
        () => `the backend knows who is there: ${differences(backend.rooms, crowd.truth()).slice(0, 5).join("; ")}`,
        () => differences(backend.rooms, crowd.truth()).length === 0,
      );
      await until("the HTTP API of every pod says who is there", async () => {
        const found = await Promise.all(pods.map((pod) => told(pod, rooms)));
        const wrong = found.flatMap((of) => differences(of, crowd.truth()));
        if (wrong.length > 0) throw new Error(wrong.slice(0, 5).join("; "));
        return true;
      });
      backend.isConsistent();
      crowd.isConsistent();
    };
    /** What the backend and the members were told of those who stay since it was last asked. */
    let heard = 0;
    const toldOfStaying = () => {
      const hooks = backend.told.slice(heard).filter(({ user }) => STAYING.includes(user));
      heard = backend.told.length;
      return { hooks: hooks.slice(0, SHOWN), members: crowd.takeToldOf(STAYING).slice(0, SHOWN) };
    };
    /** Meanwhile, some enter and leave rooms. */
    const amidChanges = async (action) => {
      const changing = new Restless(restless, BUSY);
      try {
        await action();
      } finally {
        await changing.stop();
      }
      s.note(`${changing.changes} changes meanwhile`);
    };

    await s.step("at first all agree", async () => {
      await agree();
      assert.equal(backend.rooms.size, rooms.length);
    });

    await s.step("in a rolling restart, those who move neither leave nor join, and those who do not come back leave", async () => {
      toldOfStaying();
      const old = pods.map(({ name }) => name);
      crowd.letGo(leaving.splice(0, 3));
      await amidChanges(async () => {
        await kubectl("rollout", "restart", "-n", release.namespace, `deployment/${NAME}`);
        await until(
          "only new pods are left",
          async () => {
            pods = await release.pods();
            return pods.length === PODS && pods.every((pod) => pod.ready && !old.includes(pod.name));
          },
          { patience: 240_000, every: 500 },
        );
      });
      await agree();
      const moved = crowd.members.filter(({ disconnects }) => disconnects > 0);
      assert.equal(moved.length, crowd.members.length, "every client moved");
      assert.deepEqual(toldOfStaying(), { hooks: [], members: [] });
    });

    await s.step("when a pod is killed, those who come back are there, and those who do not have left", async () => {
      const victim = await podOfSome(pods, leaving);
      const id = await victim.id();
      crowd.letGo(leaving.filter(({ pod }) => pod === id));
      await amidChanges(async () => {
        await kill(s, victim, "rookery");
        await until("its clients have noticed", () => crowd.members.every(({ pod }) => pod !== id));
      });
      victim.close();
      pods = await release.ready(PODS);
      await release.linked();
      await agree();
      s.note(`of those who stayed was told: ${JSON.stringify(toldOfStaying())}`);
    });

    await s.step("when Redis restarts with nothing, nobody leaves or joins for it", async () => {
      const disconnects = crowd.members.map((member) => member.disconnects);
      const reconnects = () => Promise.all(pods.map((pod) => pod.metric("rookery_redis_reconnects_total")));
      const counts = await reconnects();
      const [redis] = await all(release.namespace, "pods", "app.kubernetes.io/component=redis-demo");
      await amidChanges(async () => {
        await kill(s, redis, "redis-server");
        await until("all pods have connected again", async () => (await reconnects()).every((count, n) => count > counts[n]));
      });
      await release.linked();
      await agree();
      assert.deepEqual(toldOfStaying(), { hooks: [], members: [] });
      assert.deepEqual(crowd.members.map((member) => member.disconnects), disconnects);
    });

    await s.step("when all have gone, no room is occupied and no user is present", async () => {
      crowd.close();
      await agree();
      assert.equal(backend.rooms.size, 0);
      const left = async (name) => (await Promise.all(pods.map((pod) => pod.metric(name)))).reduce((sum, count) => sum + count);
      await until("no pod keeps a room", async () => (await left("rookery_presence_rooms")) + (await left("rookery_backend_rooms")) === 0);
      assert.equal(await left("rookery_backend_dropped_total"), 0);
      assert.ok(backend.repeated > 0, "the backend lost answers, so events came again");
      s.note(`${backend.told.length} events, ${backend.repeated} of them more than once`);
    });
  },
  { skip: address === undefined && "this machine is not in the nodes' network, so that pods do not reach a backend on it" },
);

function values(backend) {
  return {
    replicas: { min: PODS, max: PODS },
    // The pods that replace others would get clients of the others.
    rebalance: { mode: "manual" },
    drain: { lead: "3s", window: "5s" },
    anonymous: false,
    config: {
      auth: { jwt: { algorithms: ["HS256"], secretFile: api.file("jwt") } },
      rooms: [{ match: "{kind}:{id}", presence: true, presenceInfo: "{'name': claims.name}", hooks: true }],
      presence: { leaveDelay: LEAVE_DELAY },
      backend: { url: backend.url, hooks: ["rooms"], signingKeyFile: api.file("webhook"), vacatedDelay: "2s" },
    },
  };
}

/** Who is in each room that is not empty, as a pod's HTTP API says. */
async function told(pod, rooms) {
  const answers = await Promise.all(rooms.map((room) => api.ask(pod, `/api/rooms/${encodeURIComponent(room)}/presence`)));
  for (const { room, count, members, scope } of answers) {
    assert.equal(scope, "cluster", room);
    assert.equal(count, members.length, room);
  }
  const occupied = answers.filter(({ count }) => count > 0);
  return new Map(occupied.map(({ room, members }) => [room, members.map(({ user }) => user)]));
}

/** The rooms with others in them than there must be. */
function differences(found, truth) {
  const known = sorted(found);
  const rooms = new Set([...known.keys(), ...truth.keys()]);
  const text = (users) => users?.join(" ") ?? "nobody";
  const differing = [...rooms].filter((room) => text(known.get(room)) !== text(truth.get(room)));
  return differing.map((room) => `${room} has ${text(known.get(room))} and not ${text(truth.get(room))}`);
}

/** A pod that holds one of these members. */
async function podOfSome(pods, members) {
  for (const pod of pods) {
    const id = await pod.id();
    if (members.some((member) => member.pod === id)) return pod;
  }
  throw new Error("no pod holds any of them");
}

/** Kills the process of a pod, or deletes the pod where the nodes are not accessible. */
async function kill(s, pod, program) {
  const { metadata } = pod.object ?? pod;
  const closed = await nodes.closed();
  if (!closed) return nodes.signal(pod.object ?? pod, program, "KILL");
  s.note(`the pod is deleted by force, not killed: ${closed}`);
  await kubectl("delete", "pod", "-n", metadata.namespace, metadata.name, "--force", "--grace-period=0");
}
