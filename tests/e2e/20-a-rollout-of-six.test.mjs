// A rollout of six pods: all new pods start first, then the old ones close their sessions together,
// within one budget of reconnects. Every client moves once.
import assert from "node:assert/strict";
import { kubectl } from "./harness/kubectl.mjs";
import { NAME, Release } from "./harness/release.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { perSecond } from "./harness/swarm.mjs";
import { until } from "./harness/until.mjs";

const PODS = 6;
const CLIENTS = 600;
const PACE = 30;

scenario("a rolling restart of six pods with 600 connected clients", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "six", {
    replicas: { min: PODS, max: PODS },
    drain: { lead: "3s", window: "5s" },
    rollout: { paceOfReconnects: PACE },
  });
  const old = await release.ready(PODS, { patience: 180_000 });
  const swarm = release.swarm(s);
  await swarm.grow(CLIENTS);
  const ids = new Set(await Promise.all(old.map((pod) => pod.id())));
  const began = Date.now();

  await s.step("all pods are replaced and every client is reconnected", async () => {
    await kubectl("rollout", "restart", "-n", release.namespace, `deployment/${NAME}`);
    await until(
      "only new pods are left",
      async () => {
        const pods = await release.pods();
        return pods.length === PODS && pods.every((pod) => pod.ready && !old.some(({ name }) => name === pod.name));
      },
      { patience: 300_000 },
    );
    await swarm.settled();
    s.note(`the rollout took ${Math.round((Date.now() - began) / 1000)} s`);
  });

  await s.step("every client moved once, from an old pod to a new one", async () => {
    for (const { transports, connects, disconnects } of swarm.members) {
      const name = transports.join(" then ");
      assert.equal(disconnects.length, 1, `${name}: ${JSON.stringify(disconnects)}`);
      assert.ok(ids.has(connects[0].pod) && !ids.has(connects.at(-1).pod), name);
    }
  });

  await s.step("the budget of reconnects was kept by all pods together", async () => {
    const seconds = perSecond(swarm.members.map(({ disconnects }) => disconnects[0].at));
    s.note(`disconnects a second: ${seconds.join(" ")}`);
    // What a busy machine reports late comes in the next second.
    const pairs = seconds.slice(1).map((count, index) => (count + seconds[index]) / 2);
    assert.ok(Math.max(...pairs) <= 1.5 * PACE, `${Math.max(...pairs)} a second, the budget is ${PACE}`);
    assert.ok(seconds.length >= 0.8 * (CLIENTS / PACE), `all within ${seconds.length} s`);
  });

  await s.step("the old pods closed their sessions at the same time", async () => {
    const times = new Map([...ids].map((id) => [id, []]));
    for (const { connects, disconnects } of swarm.members) times.get(connects[0].pod).push(disconnects[0].at);
    const first = [...times.values()].map((all) => Math.min(...all));
    const last = [...times.values()].map((all) => Math.max(...all));
    assert.ok(Math.max(...first) < Math.min(...last), "one began when another had ended");
  });
});
