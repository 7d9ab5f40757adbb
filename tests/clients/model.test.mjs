// Random joins, leaves, publications and faults on two instances and a Node server on one Redis, against a model of rooms.
// SEED=n repeats a run; STEPS=n makes it longer.
import { test } from "node:test";
import { createClient } from "redis";
import { Instance, Redis, atEnd, pause, until } from "./harness.mjs";
import { LIMITS, Random, SEED, World } from "./model.mjs";
import { nodeServer, servers } from "./node_server.mjs";

const STEPS = Number(process.env.STEPS ?? 120);

/** Two instances and a Node server on one Redis. */
async function start(t) {
  const random = new Random(SEED);
  const redis = await Redis.start(t);
  const instances = [await Instance.start(t, LIMITS, { redis }), await Instance.start(t, LIMITS, { redis })];
  const node = { ...(await nodeServer(t, redis)), isOrdered: true };
  const control = await createClient({ url: redis.url }).on("error", () => {}).connect();
  atEnd(t, () => control.destroy());
  await until("all are there", async () => (await servers(control)) === 3);
  return { redis, control, random, world: await World.start(t, random, { instances, node, isOneWay: true }) };
}

test(`every member hears what a model of rooms says, once and in order (SEED=${SEED})`, async (t) => {
  const { world } = await start(t);
  await world.walk(STEPS);
});

const SUBSCRIBERS = "the subscribing connections are closed";

/** What cuts links, each as a function that resolves when the damage is done and nothing else is to do. */
const faultsOf = ({ redis, control, random }) => ({
  [SUBSCRIBERS]: () => control.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]),
  "the publishing connections are closed": () => control.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
  "one connection is closed": async () => {
    const list = String(await control.sendCommand(["CLIENT", "LIST"]));
    const ids = [...list.matchAll(/^id=(\d+) .* cmd=(?:publish|subscribe|psubscribe|ping)/gm)].map(([, id]) => id);
    if (ids.length > 0) await control.sendCommand(["CLIENT", "KILL", "ID", random.one(ids)]);
  },
  "Redis is killed and restarted": async () => {
    await redis.kill();
    await pause(100);
    await redis.run();
  },
});

for (const [name, chosen, slack] of [
  [SUBSCRIBERS, Array(6).fill(SUBSCRIBERS), 0],
  ["anything happens to Redis", ["Redis is killed and restarted", ...Array(7)], 100],
]) {
  test(`after faults nothing comes twice, order is kept and losses are counted: ${name} (SEED=${SEED})`, async (t) => {
    const at = await start(t);
    const faults = Object.entries(faultsOf(at));
    const run = chosen.map((fault) => faults.find(([name]) => name === fault) ?? at.random.one(faults));
    await at.world.survives(t, run, slack);
  });
}
