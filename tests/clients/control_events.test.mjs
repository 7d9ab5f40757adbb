// Events that the server itself sends cannot come from another client.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, KINDS, ask, collect, connected, join, kind, until } from "./harness.mjs";

/** Refused with this code, and what a stock client of Socket.IO 2 or 4 makes of each. */
const REFUSED = {
  "auth:expired": "forbidden",
  "auth:refreshed": "forbidden",
  "rookery:error": "forbidden",
  "rookery:anything": "forbidden",
  application_response: "forbidden",
  answered: "forbidden",
  error: "forbidden",
  reconnect: "forbidden",
  connect: "bad_request",
  connect_error: "bad_request",
  disconnect: "bad_request",
  newListener: "bad_request",
};

const events = [
  { on: "application", operation: "join", room: "{a}", reply: { event: "application_response" } },
  { on: "join", operation: "join", room: "{room}", reply: { event: "answered" } },
  { on: "publish", operation: "publish", room: "{room}", event: "{event}", args: ["{data}"] },
  { on: "prefixed", operation: "publish", room: "{room}", event: "rookery{event}", args: [] },
];

for (const which of KINDS.filter((each) => each.transports.length === 1)) {
  test(`${which.name}: a control event of another client reaches nobody`, async (t) => {
    const instance = await Instance.start(t, { events });
    const victim = await connected(t, which, instance.url);
    const attacker = await connected(t, kind(4, "websocket"), instance.url);
    await join(victim, "r");
    const heard = Object.fromEntries(Object.keys(REFUSED).map((name) => [name, collect(victim, name)]));
    for (const [event, code] of Object.entries(REFUSED)) {
      const answer = await ask(attacker, "publish", { room: "r", event, data: "forged" });
      assert.equal(answer.error?.code, code, `${event}: ${JSON.stringify(answer)}`);
    }
    const answer = await ask(attacker, "prefixed", { room: "r", event: ":error" });
    assert.equal(answer.error?.code, "forbidden");
    const last = collect(victim, "last");
    assert.equal((await ask(attacker, "publish", { room: "r", event: "last", data: 1 })).status, "SUCCESS");
    await until("the last event", () => last.length === 1);
    for (const [event, calls] of Object.entries(heard)) assert.deepEqual(calls, [], event);
    assert.ok((await instance.metric("rookery_rejected_total", { reason: "forbidden" })) >= 8);

    // Backends may.
    await instance.publish({ room: "r", event: "rookery:error", args: ["from a backend"] });
    await until("the backend's event", () => heard["rookery:error"].length === 1);
  });
}
