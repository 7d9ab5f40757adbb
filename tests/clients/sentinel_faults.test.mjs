// Failovers of three sentinels in a storm of publications of two instances and a Node server.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Instance } from "./harness.mjs";
import { ioredisServer } from "./node_server.mjs";
import { OpenAccess, SecuredAccess } from "./redis_access.mjs";
import { RedisSentinels } from "./redis_sentinels.mjs";
import { Storm } from "./storm.mjs";

const FAULTS = {
  "is killed": async (redis, primary) => {
    await primary.kill();
    await redis.replaced(primary);
  },
  "hangs, and goes on when another one has its place": async (redis, primary) => {
    primary.hang();
    await redis.replaced(primary);
    primary.resume();
  },
};

const ACCESS = {
  "": () => new OpenAccess(),
  ", TLS with client certificates, users with the documented rights": SecuredAccess.start,
};

/** A fault in a storm of two instances and a Node server. */
async function survives(t, redis, wire, fault) {
  const config = { redis: { url: redis.url, wire, ...redis.login } };
  const instances = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const storm = await Storm.start(t, [...instances, await ioredisServer(t, redis, wire)], { pace: 5 });
  await fault(redis, await redis.primary());
  const { missed } = await storm.accounts();
  assert.ok(missed > 0, "nothing was missed");
  for (const instance of instances) await instance.redisIs(1);
}

describe("a primary that sentinels watch", { concurrency: 2 }, () => {
  for (const wire of ["classic", "sharded"]) {
    for (const [name, fault] of Object.entries(FAULTS)) {
      for (const [how, access] of Object.entries(ACCESS)) {
        test(`${name} (${wire}${how})`, async (t) => {
          await survives(t, await RedisSentinels.start(t, await access(t, wire)), wire, fault);
        });
      }
    }
  }
});
