// A client that stops reading is disconnected and counted, and does not delay its room.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, collect, connected, join, kind, until } from "./harness.mjs";
import { Gate, Proxy, isPoll } from "./proxy.mjs";

const NUMBERS = 300;
const DATA = "x".repeat(64 * 1024);

/** Publishes numbers with much data to a room with a member that reads and one that does not. */
async function publishing(t, instance, stop) {
  const reading = await connected(t, kind(4, "websocket"), instance.url, { reconnection: false });
  await join(reading, "room");
  const disconnects = collect(reading, "disconnect");
  const heard = collect(reading, "n");
  stop();
  for (let n = 0; n < NUMBERS; n++) {
    await instance.publish({ room: "room", event: "n", args: [n, DATA] });
    // The other one's room: it is not delayed by more than the test's own reading.
    await until("the one that reads keeps up", () => heard.length > n);
  }
  assert.deepEqual(heard.map(([n]) => n), Array.from({ length: NUMBERS }, (_, n) => n));
  assert.deepEqual(disconnects, []);
}

async function shed(instance) {
  await until("the one that does not read is shed", async () => {
    return (await instance.metric("rookery_disconnects_total", { reason: "slow" })) === 1;
  });
  assert.equal(await instance.metric("rookery_connections"), 1);
  const dropped = await instance.metric("rookery_deliveries_total", { outcome: "dropped_slow" });
  assert.ok(dropped > 0, "what it did not get is counted");
  const { body } = await instance.api("GET", "/api/rooms/room");
  assert.equal(body.members.length, 1);
}

const CASES = {
  "its queue is full": { limits: { queue: "1MiB", writeStall: "300s" } },
  "its writes stall": { limits: { queue: "256MiB", writeStall: "1s" } },
};

for (const [why, config] of Object.entries(CASES)) {
  for (const version of [4, 2]) {
    test(`Socket.IO ${version}, websocket: disconnected when ${why}, and reconnects by itself`, async (t) => {
      const instance = await Instance.start(t, config);
      const stalled = await connected(t, kind(version, "websocket"), instance.url, { reconnectionDelay: 50 });
      await join(stalled, "room");
      const { _socket: transport } = stalled.io.engine.transport.ws;
      await publishing(t, instance, () => transport.pause());
      await shed(instance);
      const disconnects = collect(stalled, "disconnect");
      const connects = collect(stalled, "connect");
      transport.resume();
      await until("it is back", () => connects.length > 0);
      assert.ok(["transport close", "transport error"].includes(disconnects[0][0]), disconnects[0][0]);
    });
  }
}

for (const version of [4, 2]) {
  test(`Socket.IO ${version}, polling: disconnected when its outbox is full`, async (t) => {
    const instance = await Instance.start(t);
    const proxy = await Proxy.start(t, instance);
    const stalled = await connected(t, kind(version, "polling"), proxy.url, { reconnection: false });
    await join(stalled, "room");
    const gate = new Gate();
    await publishing(t, instance, () => {
      proxy.gate = async (request) => {
        if (isPoll(request)) await gate.pass();
      };
    });
    await shed(instance);
    gate.open();
    await until("it learns of it", () => !stalled.connected);
  });
}
