// Faults of a Redis Cluster in a storm of publications of two instances and a Node server.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Instance } from "./harness.mjs";
import { ioredisServer } from "./node_server.mjs";
import { RedisCluster } from "./redis_cluster.mjs";
import { Storm } from "./storm.mjs";

/** The channel of the storm's room. */
const CHANNEL = "socket.io#/#room#";

/** Two instances and a Node server on a Cluster, in a storm. */
async function stormy(t, wire) {
  const redis = await RedisCluster.start(t);
  const config = { redis: { url: redis.url, wire } };
  const instances = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const storm = await Storm.start(t, [...instances, await ioredisServer(t, redis, wire)], { pace: 5 });
  return { redis, instances, storm };
}

async function reconnects(instances) {
  const counts = await Promise.all(instances.map((instance) => instance.metric("rookery_redis_reconnects_total")));
  return counts.reduce((sum, count) => sum + count, 0);
}

describe("in a Cluster", { concurrency: 2 }, () => {
  for (const wire of ["classic", "sharded"]) {
    test(`a primary is killed, and its replica takes over (${wire})`, async (t) => {
      const { redis, instances, storm } = await stormy(t, wire);
      // On the classic wire it concerns an instance whose connection leads there.
      const primary = wire === "classic" ? await redis.subscribed(CHANNEL) : (await redis.owner(CHANNEL)).server;
      await primary.kill();
      await redis.replaced(primary);
      const { missed } = await storm.accounts();
      if (wire === "sharded") assert.ok(missed > 0, "nothing was missed");
      else assert.ok((await reconnects(instances)) > 0, "no connection led there");
      for (const instance of instances) await instance.redisIs(1);
    });

    test(`a slot moves three times (${wire})`, async (t) => {
      const { redis, instances, storm } = await stormy(t, wire);
      for (let times = 0; times < 3; times++) {
        await redis.move(CHANNEL);
        await storm.allHearAll();
        await storm.more(50);
      }
      const { missed } = await storm.accounts();
      if (wire === "classic") assert.equal(missed, 0);
      assert.equal(await reconnects(instances), 0, "connections stay");
    });
  }
});
