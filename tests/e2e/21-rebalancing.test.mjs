// After a scale-up the new pods get clients of the old ones; each client moves once at most. Clients
// with a cookie of a full pod get in as well.
import assert from "node:assert/strict";
import { Release } from "./harness/release.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { perSecond } from "./harness/swarm.mjs";
import { until } from "./harness/until.mjs";

const CLIENTS = 400;
const RATE = 50;

scenario("two pods with 400 clients become four", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "rebalance", {
    replicas: { min: 2, max: 2 },
    // A target of 10,000 is more than a pod takes.
    autoscaling: { enabled: false, connectionsPerPod: 100 },
    rebalance: { threshold: "20%", rate: RATE, after: "15s" },
    config: { limits: { connections: 220 } },
  });
  const swarm = release.swarm(s);
  await swarm.grow(CLIENTS);
  const first = (await release.pods()).map(({ name }) => name);

  await s.step("with four pods each gets about 100 clients", async () => {
    await release.upgrade({ replicas: { min: 4, max: 4 } });
    await release.ready(4, { patience: 120_000 });
    const even = () => {
      const counts = [...swarm.byPod().values()];
      return counts.length === 4 && counts.every((count) => count >= 70 && count <= 130);
    };
    await until(() => `each pod has about 100 clients: ${[...swarm.byPod().values()].join(" ")}`, even, { patience: 180_000 });
    await swarm.settled();
    s.note(`clients of each pod: ${[...swarm.byPod().values()].join(" ")}`);
    const names = (await release.pods()).map(({ name }) => name);
    assert.ok(first.every((name) => names.includes(name)), "no pod was replaced");
  });

  await s.step("no client moved more than once, and the rate was kept", async () => {
    const moved = swarm.members.filter(({ disconnects }) => disconnects.length > 0);
    assert.ok(moved.every(({ disconnects }) => disconnects.length === 1 && disconnects[0].reason === "transport close"));
    const seconds = perSecond(moved.map(({ disconnects }) => disconnects[0].at));
    s.note(`${moved.length} clients moved; a second: ${seconds.join(" ")}`);
    const pairs = seconds.slice(1).map((count, index) => (count + seconds[index]) / 2);
    assert.ok(Math.max(...pairs) <= 1.5 * RATE, `${Math.max(...pairs)} a second`);
    const most = Math.max(...swarm.members.map(({ refusals }) => refusals.length));
    s.note(`refusals of one client: at most ${most}`);
  });

  await s.step("it is over: nothing moves any more", async () => {
    const pods = await release.pods();
    const closed = async () => {
      const counts = await Promise.all(pods.map((pod) => pod.metric("rookery_disconnects_total", { reason: "rebalance" })));
      return counts.reduce((sum, count) => sum + count, 0);
    };
    const ratios = async () => Promise.all(pods.map((pod) => pod.metric("rookery_imbalance_ratio")));
    await until("all are within the threshold", async () => (await ratios()).every((ratio) => ratio < 1.35));
    const before = await closed();
    assert.equal(before, swarm.members.filter(({ disconnects }) => disconnects.length > 0).length);
  });

  await s.step("60 newcomers with a cookie jar all get in while there is room", async () => {
    const newcomers = await swarm.grow(60);
    assert.equal(newcomers.filter((member) => member.settled).length, 60);
  });
});
