// The operator is killed during a rollout: the rollout continues, another operator takes over, and the
// autoscaler's number of pods stays.
import assert from "node:assert/strict";
import { all, get, kubectl } from "./harness/kubectl.mjs";
import { NAME, Release } from "./harness/release.mjs";
import * as nodes from "./harness/nodes.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const CLIENTS = 100;
const PER_POD = 20;
const SERVERS = CLIENTS / PER_POD;
const LEASE = "rookery-operator";
const OPERATORS = "app.kubernetes.io/component=operator";

scenario("the operator is killed during a rollout", async (s) => {
  await operator.ensure();
  const release = await Release.install(s, "operator", {
    replicas: { min: 2, max: SERVERS },
    autoscaling: { connectionsPerPod: PER_POD },
    // Short, as five servers leave one after the other.
    drain: { lead: "2s", window: "3s" },
  });
  const swarm = release.swarm(s);
  let old;
  let dead;

  await s.step(`the autoscaler scales to ${SERVERS} pods`, async () => {
    await swarm.grow(CLIENTS);
    old = (await release.ready(SERVERS, { patience: 180_000 })).map(({ name }) => name);
  });

  await s.step("both operators are killed as a rollout starts", async () => {
    await release.upgrade({ config: { socketio: { pingInterval: "24s" } } });
    await until("the first new server is there", async () => {
      const pods = await release.pods();
      return pods.some(({ name }) => !old.includes(name)) && pods.some(({ name }) => old.includes(name));
    });
    await until("two operators are there", async () => {
      dead = await operators();
      return dead.length === 2;
    });
    const closed = await nodes.closed();
    if (closed) s.note(`the operators have a second to say good-bye: ${closed}`);
    // Stopped first, so that the leader cannot give the Lease back.
    else for (const pod of dead) await nodes.signal(pod, "rookery", "STOP");
    dead = dead.map(({ metadata }) => metadata.name);
    await kubectl("delete", "pods", "-n", operator.NAMESPACE, ...dead, "--force", "--grace-period=0");
    const left = (await release.pods()).filter(({ name }) => old.includes(name));
    assert.ok(left.length > 0, "the rollout was over before");
  });

  await s.step("the next leader reverts manual edits made meanwhile", async () => {
    const killed = Date.now();
    await kubectl("delete", "pdb", "-n", release.namespace, NAME);
    await until("another operator leads", async () => {
      const { spec } = await get(operator.NAMESPACE, "lease", LEASE);
      const living = (await operators()).map(({ metadata }) => metadata.name);
      return !dead.includes(spec.holderIdentity) && living.includes(spec.holderIdentity);
    });
    s.note(`another operator led ${Math.round((Date.now() - killed) / 1000)} s after the kill`);
    await until("the disruption budget is there again", () => get(release.namespace, "pdb", NAME));
  });

  await s.step(`the rollout completes, with ${SERVERS} pods throughout`, async () => {
    const wanted = new Set();
    await until(
      "all servers are new",
      async () => {
        wanted.add((await release.deployment()).spec.replicas);
        const pods = await release.pods();
        return pods.length === SERVERS && pods.every(({ name, ready }) => ready && !old.includes(name));
      },
      { patience: 240_000 },
    );
    assert.deepEqual([...wanted], [SERVERS]);
    await swarm.settled();
    assert.equal(await pingInterval(release), 24_000);
  });

  await s.step("the status shows the rollout as complete, and the connections", async () => {
    const { generation } = (await release.resource()).metadata;
    await until("its status is up to date", async () => {
      const { observedGeneration, conditions, connections, readyReplicas } = (await release.resource()).status;
      const progressing = conditions.find(({ type }) => type === "Progressing");
      return observedGeneration === generation && progressing.status === "False"
        && readyReplicas === SERVERS && connections === CLIENTS;
    });
    assert.equal((await release.deployment()).spec.replicas, SERVERS);
  });

  await s.step("the autoscaler reads connections again", async () => {
    await until("its last reading is a full one", async () => {
      const { status } = await get(release.namespace, "hpa", NAME);
      const active = status.conditions.find(({ type }) => type === "ScalingActive");
      return active.status === "True" && status.currentMetrics?.[0]?.pods?.current.averageValue === String(PER_POD);
    });
    assert.equal((await release.deployment()).spec.replicas, SERVERS);
  });
});

function operators() {
  return all(operator.NAMESPACE, "pods", OPERATORS);
}

/** What a handshake says of it. The session is closed again, so that nobody counts it. */
async function pingInterval(release) {
  const path = "/socket.io/?EIO=4&transport=polling";
  const { headers, body } = await release.request(path);
  const { sid, pingInterval } = JSON.parse(body.slice(1));
  const cookie = headers["set-cookie"].map((text) => text.split(";")[0]).join("; ");
  const closed = await release.request(`${path}&sid=${sid}`, { method: "POST", headers: { cookie }, body: "1" });
  assert.equal(closed.status, 200);
  return pingInterval;
}
