// Faults of a Redis Cluster in a storm of publications of two instances and a Node server.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Instance } from "./harness.mjs";
import { ioredisServer } from "./node_server.mjs";
import { OpenAccess, SecuredAccess } from "./redis_access.mjs";
import { RedisCluster } from "./redis_cluster.mjs";
import { Storm } from "./storm.mjs";

/** The channel of the storm's room. */
const CHANNEL = "socket.io#/#room#";

/** Two instances and a Node server on a Cluster, in a storm. */
async function stormy(t, wire, access) {
  const redis = await RedisCluster.start(t, access);
  const config = { redis: { url: redis.url, wire, ...redis.login } };
  const instances = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const storm = await Storm.start(t, [...instances, await ioredisServer(t, redis, wire)], { pace: 5 });
  return { redis, instances, storm };
}

async function reconnects(instances) {
  const counts = await Promise.all(instances.map((instance) => instance.metric("rookery_redis_reconnects_total")));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** A primary is lost that the instances need. */
async function losesPrimary(t, wire, access, { fault, isLeft, waits, isLate }) {
  const { redis, instances, storm } = await stormy(t, wire, access);
  // On the classic wire it concerns an instance whose connection leads there.
  const primary = wire === "classic" ? await redis.subscribed(CHANNEL) : (await redis.owner(CHANNEL)).server;
  const before = storm.published();
  await fault(redis, primary, storm);
  const { missed } = await storm.accounts({ waited: waits ? storm.published() - before : 0, isLate });
  if (isLeft && wire === "sharded") assert.ok(missed > 0, "nothing was missed");
  if (isLeft && wire === "classic") assert.ok((await reconnects(instances)) > 0, "no connection led there");
  for (const instance of instances) await instance.redisIs(1);
}

const FAULTS = {
  "a primary is killed, and its replica takes over": {
    isLeft: true,
    fault: async (redis, primary) => {
      await primary.kill();
      await redis.replaced(primary);
    },
  },
  "a primary hangs, and goes on when the instances have left it": {
    isLeft: true,
    isLate: true,
    fault: async (redis, primary, storm) => {
      primary.hang();
      await redis.replaced(primary);
      await storm.instancesHearAll();
      primary.resume();
    },
  },
  // It may go on before the instances have left it: it takes what waited for it, or not.
  "a primary hangs, and goes on as soon as its replica has taken over": {
    waits: true,
    isLate: true,
    fault: async (redis, primary) => {
      primary.hang();
      await redis.replaced(primary);
      primary.resume();
    },
  },
};

const ACCESS = {
  "": () => new OpenAccess(),
  ", TLS with client certificates, a user with the documented rights": SecuredAccess.start,
};

describe("in a Cluster", { concurrency: 2 }, () => {
  for (const wire of ["classic", "sharded"]) {
    for (const [how, access] of Object.entries(ACCESS)) {
      for (const [name, fault] of Object.entries(FAULTS)) {
        test(`${name} (${wire}${how})`, async (t) => losesPrimary(t, wire, await access(t, wire), fault));
      }

      test(`a slot moves three times (${wire}${how})`, async (t) => {
        const { redis, instances, storm } = await stormy(t, wire, await access(t, wire));
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
  }
});
