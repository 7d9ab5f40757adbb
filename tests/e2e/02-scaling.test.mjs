// The number of pods follows connections: it grows when clients connect and shrinks when they leave,
// emptiest pods first, and remaining clients are moved by a drain.
import assert from "node:assert/strict";
import { get } from "./harness/kubectl.mjs";
import { NAME, Release } from "./harness/release.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const CLIENTS = 300;
const PER_POD = 50;

scenario("the autoscaler follows connections", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "scaling", {
    replicas: { min: 2, max: 6 },
    autoscaling: { connectionsPerPod: PER_POD, stabilization: "30s" },
    // Which clients are where decides what is removed.
    rebalance: { mode: "manual" },
  });
  const swarm = release.swarm(s);
  let first;

  await s.step("300 clients at 50 per pod scale the service from 2 pods to 6", async () => {
    first = await swarm.grow(CLIENTS);
    await release.ready(6, { patience: 180_000 });
    assert.deepEqual(first.filter(({ disconnects }) => disconnects.length > 0), []);
  });

  await s.step("the autoscaler reads the connections of the pods", async () => {
    await until(
      "the average is 50",
      async () => {
        const { status } = await get(release.namespace, "hpa", NAME);
        return status.currentMetrics?.[0]?.pods?.current.averageValue === String(PER_POD);
      },
      { patience: 60_000, every: 1000 },
    );
    const counts = await Promise.all((await release.pods()).map((pod) => pod.metric("rookery_connections")));
    assert.equal(counts.reduce((sum, count) => sum + count, 0), CLIENTS);
    // It is written at most once a minute.
    await until("the status counts them", async () => (await release.resource()).status.connections === CLIENTS);
  });

  await s.step("when clients leave, the service scales back to the 2 fullest pods and drains the others", async () => {
    // New pods have their share of newcomers only. Two of them keep all of theirs, every other
    // pod keeps two clients: by age alone, the two oldest pods would be the ones that stay.
    const second = await swarm.grow(90);
    const ids = new Map();
    for (const pod of await release.pods()) ids.set(await pod.id(), pod.name);
    const old = new Set(first.map((member) => member.pod));
    const chosen = [...ids.keys()].filter((id) => !old.has(id)).slice(0, 2);
    assert.equal(chosen.length, 2);
    const staying = [...ids.keys()].flatMap((id) => {
      const there = second.filter((member) => member.pod === id);
      return chosen.includes(id) ? there : there.slice(0, 2);
    });
    const homes = new Map(staying.map((member) => [member, member.pod]));
    swarm.leave(swarm.members.filter((member) => !staying.includes(member)));
    s.note(`${staying.length} stay: ${[...swarm.byPod().values()].join(", ")}`);

    const ends = new Map();
    await until(
      "2 pods are left",
      async () => {
        const pods = await release.pods();
        for (const pod of pods.filter(({ terminating }) => terminating)) {
          ends.set(pod.name, Date.parse(pod.object.metadata.deletionTimestamp) - grace(pod));
        }
        return pods.length === 2;
      },
      { patience: 360_000, every: 500 },
    );
    await swarm.settled();

    const left = (await release.pods()).map(({ name }) => name).sort();
    assert.deepEqual(left, chosen.map((id) => ids.get(id)).sort());
    for (const [member, home] of homes) {
      if (chosen.includes(home)) assert.deepEqual(member.disconnects, []);
      for (const [n, { at, reason }] of member.disconnects.entries()) {
        const pod = ids.get(n === 0 ? home : member.connects[n].pod);
        assert.equal(reason, "transport close");
        // Deletion times are whole seconds.
        assert.ok(at >= ends.get(pod) + 2_000, `closed ${at - ends.get(pod)} ms after ${pod} was told to stop`);
      }
    }
  });
});

/** How long a pod that is being deleted has, in milliseconds: its deletion time is that much late. */
function grace(pod) {
  return (pod.object.metadata.deletionGracePeriodSeconds ?? 0) * 1000;
}
