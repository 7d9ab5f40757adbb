// Random joins, leaves, publications and faults on two instances and a Node server on a Redis Cluster, on the sharded wire,
// against a model of rooms. SEED=n repeats a run; STEPS=n makes it longer.
import { test } from "node:test";
import { Instance, until } from "./harness.mjs";
import { LIMITS, Random, SEED, World } from "./model.mjs";
import { ioredisServer } from "./node_server.mjs";
import { RedisCluster } from "./redis_cluster.mjs";

const STEPS = Number(process.env.STEPS ?? 40);

/** The channel of the room that the traffic is for. */
const CHANNEL = "socket.io#/#a#";

/** Two instances and a Node server on one Cluster. */
async function start(t) {
  const random = new Random(SEED);
  const redis = await RedisCluster.start(t);
  const config = { ...LIMITS, redis: { url: redis.url, wire: "sharded" } };
  const instances = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const node = { ...(await ioredisServer(t, redis, "sharded")), isOrdered: false };
  await until("all are there", async () => (await redis.count("shardnumsub", "socket.io#/#")) === 3);
  return { redis, random, world: await World.start(t, random, { instances, node, isOneWay: false }) };
}

test(`every member hears what a model of rooms says, once and in order of each way, on a Cluster (SEED=${SEED})`, async (t) => {
  const { world } = await start(t);
  await world.walk(STEPS);
});

const FAILOVER = "a primary is killed, its replica takes over, and it comes back";

const faultsOf = ({ redis, random }) => {
  const onEach = (...words) => Promise.all(redis.running.map((server) => server.cli(...words)));
  return {
    "the subscribing connections are closed": () => onEach("client", "kill", "type", "pubsub"),
    "the publishing connections are closed": () => onEach("client", "kill", "type", "normal"),
    "the connections to one node are closed": async () => {
      const server = random.one(redis.running);
      for (const type of ["pubsub", "normal"]) await server.cli("client", "kill", "type", type);
    },
    "the slot of the room moves": () => redis.move(CHANNEL),
    [FAILOVER]: async () => {
      const { server } = await redis.owner(CHANNEL);
      await server.kill();
      await redis.replaced(server);
      await server.run();
      await redis.isWhole();
    },
  };
};

test(`after faults of a Cluster nothing comes twice, order is kept and losses are counted (SEED=${SEED})`, async (t) => {
  const at = await start(t);
  const { [FAILOVER]: failover, ...others } = faultsOf(at);
  const faults = Array.from({ length: 7 }, () => at.random.one(Object.entries(others)));
  await at.world.survives(t, [...faults.slice(0, 3), [FAILOVER, failover], ...faults.slice(3)], 150);
});
