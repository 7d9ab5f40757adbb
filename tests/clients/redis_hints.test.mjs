// A Redis that refuses an instance, which goes on to serve its clients and says in its log what to change.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, until } from "./harness.mjs";
import { SecuredAccess } from "./redis_access.mjs";
import { RedisProcess } from "./redis_process.mjs";

const PUBLISH = "cannot connect to Redis to publish";
const SUBSCRIBE = "cannot connect to Redis to subscribe";

test("an instance that Redis refuses says in its log what to change", async (t) => {
  const access = await SecuredAccess.start(t, "classic");
  const redis = await RedisProcess.start(t, access, () => access.ofServer());
  const url = `rediss://127.0.0.1:${redis.port}`;
  const { tls, ...login } = access.config();
  const refused = {
    "redis.tls.caFile": { url, ...login },
    "redis.tls.certFile": { url, ...login, tls: { caFile: tls.caFile } },
    "check the user and the password": { url, ...login, username: "nobody", tls },
  };
  for (const [hint, section] of Object.entries(refused)) {
    const instance = await Instance.start(t, { redis: section });
    for (const message of [PUBLISH, SUBSCRIBE]) {
      const hinted = (line) => line.includes(message) && JSON.parse(line).hint?.includes(hint);
      await until(() => `${message}, with the hint ${hint}\n${instance.lines.join("\n")}`, () => instance.lines.some(hinted));
    }
    assert.equal(await instance.metric("rookery_redis_up"), 0);
  }
});
