// An instance receives from Redis only what is for its own members.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ask, collect, connected, join, kind, pair, until } from "./harness.mjs";

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

test("a client joins its rooms in `connect`, also after a reconnect, more than events per second", async (t) => {
  const limits = { roomsPerClient: 150, eventsPerSecond: 20 };
  const { one, other } = await pair(t, { limits });
  const rooms = Array.from({ length: 120 }, (_, n) => `room-${n}`);
  for (const which of [kind(4, "websocket"), kind(3, "polling"), kind(2, "websocket")]) {
    const socket = await connected(t, which, one.url, { reconnectionDelay: 10 });
    const heard = collect(socket, "n");
    for (const round of [1, 2]) {
      const answers = await Promise.all(rooms.map((room) => ask(socket, "join", { room })));
      assert.deepEqual(answers.filter((answer) => answer.status !== "SUCCESS"), []);
      await other.publish({ room: "room-119", event: "n", args: [round] });
      await until("it hears the other instance", () => heard.length === round);
      const again = new Promise((resolve) => socket.once("connect", resolve));
      socket.io.engine.close();
      if (round === 1) {
        if (which.version === 2) socket.connect();
        await again;
      }
    }
  }
});

test("a list of rooms is joined with one wait, and each room hears the other instance", async (t) => {
  const { one, other } = await pair(t, { limits: { roomsPerClient: 500 } });
  const socket = await connected(t, kind(4, "websocket"), one.url);
  const rooms = Array.from({ length: 500 }, (_, n) => `list-${n}`);
  const answer = await ask(socket, "join", { rooms });
  assert.equal(answer.status, "SUCCESS", JSON.stringify(answer.error));
  assert.deepEqual(answer.joined, rooms);
  const heard = collect(socket, "n");
  for (const room of ["list-0", "list-250", "list-499"]) {
    await other.publish({ room, event: "n", args: [room] });
  }
  await until("all three", () => heard.length === 3);
  assert.equal((await ask(socket, "leave", { rooms })).left.length, 500);
});
