// An instance receives from Redis only what is for its own members.
import assert from "node:assert/strict";
import { test } from "node:test";
import { collect, connected, join, kind, pair, until } from "./harness.mjs";

test("an instance without members of a room receives no Redis message for it", async (t) => {
  const { one, other } = await pair(t);
  const [here, there] = [
    await connected(t, kind(4, "websocket"), one.url),
    await connected(t, kind(4, "websocket"), other.url),
  ];
  await join(here, "busy");
  await join(there, "elsewhere");
  const [busy, elsewhere] = [collect(here, "n"), collect(there, "n")];
  const received = () => other.metric("rookery_redis_messages_total", { direction: "in" });
  const sent = () => one.metric("rookery_redis_messages_total", { direction: "out" });
  const before = { received: await received(), sent: await sent() };
  for (let n = 0; n < 500; n++) await one.publish({ room: "busy", event: "n", args: [n] });
  // It is the last that Redis gets, so what was to come has come before it.
  await one.publish({ room: "elsewhere", event: "n", args: ["end"] });
  await until("the end", () => elsewhere.length > 0);
  await until("the member's 500", () => busy.length === 500);
  assert.equal((await received()) - before.received, 1);
  assert.ok((await sent()) - before.sent >= 501, "the publications were sent");
});
