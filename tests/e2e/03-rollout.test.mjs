// A rolling restart: every client moves once, spread over the window; messages keep flowing; new
// clients connect throughout, and never to a terminating pod.
import assert from "node:assert/strict";
import { UPGRADE } from "./harness/clients.mjs";
import { kubectl } from "./harness/kubectl.mjs";
import { Newcomers } from "./harness/newcomers.mjs";
import { NAME, Release } from "./harness/release.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { ROOM, perSecond } from "./harness/swarm.mjs";
import { pause, until } from "./harness/until.mjs";

const CLIENTS = 500;
const LEAD = 3;
const WINDOW = 10;

scenario("a rolling restart with 500 connected clients", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "rollout", {
    // The autoscaler has nothing to do with it.
    replicas: { min: 2, max: 2 },
    drain: { lead: `${LEAD}s`, window: `${WINDOW}s` },
  });
  const old = await release.ready();
  const swarm = release.swarm(s);
  await swarm.grow(CLIENTS);
  const publisher = new Publisher(await release.client(s, UPGRADE));
  s.atEnd(() => publisher.stop());
  const newcomers = new Newcomers(release);
  s.atEnd(() => newcomers.stop());

  /** Since when each old pod is leaving, by the first 8 characters of its members' ids. */
  const leaving = new Map();
  const ids = new Map();
  for (const pod of old) ids.set(pod.name, await pod.id());

  await s.step("all pods are replaced and every client is reconnected", async () => {
    await kubectl("rollout", "restart", "-n", release.namespace, `deployment/${NAME}`);
    await until(
      "only new pods are left",
      async () => {
        const pods = await release.pods();
        for (const { name } of pods.filter(({ terminating }) => terminating)) {
          if (!leaving.has(ids.get(name))) leaving.set(ids.get(name), Date.now());
        }
        return pods.length === 2 && pods.every((pod) => pod.ready && !ids.has(pod.name));
      },
      { patience: 240_000 },
    );
    await swarm.settled();
    await publisher.stop();
    await newcomers.stop();
  });

  await s.step("no client was disconnected more than once, and polling clients no sooner than others", async () => {
    for (const { transports, disconnects } of swarm.members) {
      const name = transports.join(" then ");
      assert.ok(disconnects.every(({ reason }) => reason === "transport close"), `${name}: ${JSON.stringify(disconnects)}`);
    }
    const more = swarm.members.filter(({ disconnects }) => disconnects.length > 1);
    assert.equal(more.length, 0, `${more.length} of ${CLIENTS} clients were disconnected more than once`);
    assert.equal(swarm.members.filter(({ disconnects }) => disconnects.length === 0).length, 0);
  });

  await s.step("no pod closed a session before its lead was over", async () => {
    for (const member of swarm.members) {
      const [{ pod }] = member.connects;
      const [{ at }] = member.disconnects;
      // When a pod began to leave was seen up to one look too late.
      assert.ok(at - leaving.get(pod) > (LEAD - 1.5) * 1000, `closed ${at - leaving.get(pod)} ms after ${pod} began to leave`);
    }
  });

  await s.step("the reconnects of each pod are spread over the window", async () => {
    for (const [pod] of leaving) {
      const times = swarm.members.filter(({ connects }) => connects[0].pod === pod).map(({ connects }) => connects[1].at);
      const seconds = perSecond(times);
      const mean = times.length / WINDOW;
      s.note(`reconnects a second from ${pod}: ${seconds.join(" ")}`);
      assert.ok(Math.max(...seconds) <= 3 * mean, `${Math.max(...seconds)} in one second, the mean is ${mean}`);
      assert.ok(seconds.length >= WINDOW - 1, `all within ${seconds.length} s`);
    }
  });

  await s.step("connected clients received every message, in order", async () => {
    const { accepted } = publisher;
    for (const { heard } of swarm.members) {
      assert.ok(heard.every((n, index) => index === 0 || n > heard[index - 1]), `out of order: ${heard.join(" ")}`);
      // What is published while a client reconnects is gone; the rest is not.
      const places = heard.map((n) => accepted.indexOf(n)).filter((place) => place >= 0);
      const gaps = places.filter((place, index) => index > 0 && place !== places[index - 1] + 1);
      assert.ok(gaps.length <= 1, `${gaps.length} gaps`);
      assert.ok(places.length > accepted.length / 2, `${places.length} of ${accepted.length}`);
    }
  });

  await s.step("new clients connected throughout, and none to a terminating pod", async () => {
    assert.deepEqual(newcomers.refused, []);
    s.note(`${newcomers.came.length} new clients meanwhile`);
    for (const { at, pod } of newcomers.came) {
      // Kubernetes tells the ingress within a second or so; the lead is for that.
      const since = at - (leaving.get(pod) ?? Infinity);
      assert.ok(since < LEAD * 1000, `a new session on ${pod} ${since} ms after it began to leave`);
    }
    for (const member of swarm.members) {
      for (const { at, pod } of member.connects.slice(1)) {
        assert.ok(!(at - leaving.get(pod) >= LEAD * 1000), `a session moved to ${pod}, which was leaving`);
      }
    }
  });
});

/** Says one number after the other to the swarm's room, and keeps those that were accepted. */
class Publisher {
  accepted = [];
  #on = true;

  constructor(socket) {
    this.running = this.#run(socket);
  }

  async #run(socket) {
    for (let n = 0; this.#on; n++) {
      const said = { room: ROOM, event: "tick", data: n };
      // The ack of what was said on a connection that was being closed may never come.
      const answer = await socket.timeout(2_000).emitWithAck("publish", said).catch(() => undefined);
      if (answer?.status === "SUCCESS") this.accepted.push(n);
      await pause(250);
    }
  }

  stop() {
    this.#on = false;
    return this.running;
  }
}
