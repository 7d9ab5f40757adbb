// `kubectl drain`: the pods leave one after the other, each by a drain of its own, and new clients
// connect throughout.
import assert from "node:assert/strict";
import { command, get, kubectl } from "./harness/kubectl.mjs";
import { NAME, Release } from "./harness/release.mjs";
import { Newcomers } from "./harness/newcomers.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { perSecond } from "./harness/swarm.mjs";
import { until } from "./harness/until.mjs";

const CLIENTS = 120;
const SERVERS = 4;
const LEAD = 3;
const WINDOW = 10;

/** Only these pods are moved: the ingress may be on the same node. */
const LABEL = { "e2e.rookery.dev/drained": "yes" };

scenario("a node is drained", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "drain", {
    replicas: { min: SERVERS, max: SERVERS },
    drain: { lead: `${LEAD}s`, window: `${WINDOW}s` },
    rebalance: { mode: "manual" },
    podTemplate: { labels: LABEL },
  });
  const before = await release.ready(SERVERS);
  const swarm = release.swarm(s);
  await swarm.grow(CLIENTS);

  const node = crowded(before);
  const moving = before.filter((pod) => pod.node === node);
  assert.ok(moving.length > 1, `${moving.length} of ${SERVERS} servers are on ${node}`);
  const ids = new Map();
  for (const pod of moving) ids.set(pod.name, await pod.id());
  s.note(`${moving.length} of ${SERVERS} servers are on ${node}, which is drained`);

  const newcomers = new Newcomers(release);
  s.atEnd(() => newcomers.stop());
  s.atEnd(() => kubectl("uncordon", node));
  /** When each server was told to stop, by the first 8 characters of its members' ids. */
  const told = new Map();
  let fewest = SERVERS;

  await s.step("kubectl drain completes, with at most one pod unready at any time", async () => {
    let drained = false;
    const selector = Object.entries(LABEL).map(([key, value]) => `${key}=${value}`);
    const args = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector", selector.join(), "--timeout=150s"];
    const draining = command("kubectl", args, { patience: 180_000 }).finally(() => (drained = true));
    const watching = until(
      () => `all servers have left ${node}`,
      async () => {
        const done = drained;
        const pods = await release.pods();
        for (const pod of pods.filter(({ name, terminating }) => terminating && ids.has(name))) {
          if (!told.has(ids.get(pod.name))) told.set(ids.get(pod.name), Date.now());
        }
        fewest = Math.min(fewest, pods.filter((pod) => pod.ready).length);
        return done;
      },
      { patience: 200_000, every: 100 },
    );
    await Promise.all([draining, watching]);
    assert.equal(fewest, SERVERS - 1);
    const left = await release.ready(SERVERS);
    assert.deepEqual(left.filter((pod) => pod.node === node), []);
    const { status } = await get(release.namespace, "pdb", NAME);
    assert.equal(status.currentHealthy, SERVERS);
    await swarm.settled();
    await newcomers.stop();
  });

  await s.step("clients were disconnected only by the drain of their own pod", async () => {
    assert.equal(told.size, moving.length);
    for (const { transports, connects, disconnects } of swarm.members) {
      const name = transports.join(" then ");
      for (const [n, { at, reason }] of disconnects.entries()) {
        const { pod } = connects[n];
        assert.equal(reason, "transport close", name);
        assert.ok(told.has(pod), `${name}: ${pod} was not drained`);
        // When a server was told to stop was seen up to a look too late.
        assert.ok(at - told.get(pod) > (LEAD - 1) * 1000, `${name}: closed ${at - told.get(pod)} ms after ${pod} was told to stop`);
        assert.ok(at - told.get(pod) < (LEAD + WINDOW + 3) * 1000, `${name}: closed ${at - told.get(pod)} ms after ${pod} was told to stop`);
      }
    }
    // Who moves to the node's next server before that is told to stop is moved once more.
    const more = swarm.members.filter(({ disconnects }) => disconnects.length > 1);
    for (const { connects } of more) assert.ok(connects[1].at - told.get(connects[1].pod) < LEAD * 1000);
    s.note(`${more.length} of ${CLIENTS} clients moved more than once`);
  });

  await s.step("the clients of each pod moved over the whole window", async () => {
    for (const [pod] of told) {
      const times = swarm.members.flatMap(({ connects, disconnects }) =>
        disconnects.filter((_, n) => connects[n].pod === pod).map(({ at }) => at));
      const seconds = perSecond(times);
      const mean = times.length / WINDOW;
      s.note(`sessions closed a second by ${pod}: ${seconds.join(" ")}`);
      assert.ok(Math.max(...seconds) <= 3 * mean, `${Math.max(...seconds)} in one second, the mean is ${mean}`);
      assert.ok(seconds.length >= WINDOW - 1, `all within ${seconds.length} s`);
    }
  });

  await s.step("new clients connected throughout, and none to a terminating pod", async () => {
    assert.deepEqual(newcomers.refused, []);
    s.note(`${newcomers.came.length} new clients meanwhile`);
    for (const { at, pod } of newcomers.came) {
      const since = at - (told.get(pod) ?? Infinity);
      assert.ok(since < LEAD * 1000, `a new session on ${pod} ${since} ms after it was told to stop`);
    }
  });
});

/** The node that holds most of these pods. */
function crowded(pods) {
  const counts = new Map();
  for (const { node } of pods) counts.set(node, (counts.get(node) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0][0];
}
