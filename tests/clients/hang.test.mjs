// Redis hangs for half a minute, much longer than the instances wait for it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, Redis, pause } from "./harness.mjs";
import { nodeServer } from "./node_server.mjs";
import { Storm } from "./storm.mjs";

/** How long it hangs, in milliseconds. */
const HANG = 30_000;

test("Redis hangs for 30 s: all that is accepted meanwhile is delivered here, and counted as missed elsewhere", async (t) => {
  const redis = await Redis.start(t);
  const instances = [await Instance.start(t, {}, { redis }), await Instance.start(t, {}, { redis })];
  const storm = await Storm.start(t, [...instances, await nodeServer(t, redis)], { pace: 5 });
  redis.child.kill("SIGSTOP");
  await Promise.all([pause(HANG), ...instances.map((instance) => instance.redisIs(0))]);
  redis.child.kill("SIGCONT");
  await Promise.all(instances.map((instance) => instance.redisIs(1)));
  const { missed } = await storm.accounts();
  assert.ok(missed > 0, "nothing was missed");
});
