// The ledger of deliveries: each recipient of a publication ends up as one delivery that was written or
// dropped, whatever the clients do meanwhile.
import assert from "node:assert/strict";
import { test } from "node:test";
import { KINDS, ask, collect, connected, join, kind, pair, pause, until } from "./harness.mjs";

const OUTCOMES = ["written", "dropped_slow", "dropped_volatile", "gone"];
const LIMITS = { queue: "256KiB", writeStall: "1s", eventsPerSecond: 10_000, roomsPerClient: 100 };

/** Recipients and outcomes of one scrape. */
async function ledger(instance) {
  const text = await (await fetch(`${instance.internal}/metrics`)).text();
  const value = (series) => Number(new RegExp(`^${series} (.*)$`, "m").exec(text)[1]);
  const outcomes = OUTCOMES.map((outcome) => [outcome, value(`rookery_deliveries_total\\{outcome="${outcome}"\\}`)]);
  return { recipients: value("rookery_recipients_total"), ...Object.fromEntries(outcomes) };
}

const ended = (entries) => OUTCOMES.reduce((sum, outcome) => sum + entries[outcome], 0);

/** Waits until every delivery of an instance has ended. */
async function balanced(instance) {
  let entries;
  await until(() => `the ledger of ${instance.pod} is balanced: ${JSON.stringify(entries)}`, async () => {
    entries = await ledger(instance);
    return entries.recipients === ended(entries);
  });
  return entries;
}

test("the receipts of the API, the ledger and what clients heard are the same number", async (t) => {
  const { one, other } = await pair(t);
  const heard = [];
  for (const instance of [one, other]) {
    for (const which of KINDS) {
      const socket = await connected(t, which, instance.url);
      await join(socket, "a");
      if (which.version > 2) await join(socket, "b");
      heard.push({ instance, events: collect(socket, "n") });
    }
  }
  const receipts = new Map([[one, 0], [other, 0]]);
  const of = { a: KINDS.length, b: KINDS.filter(({ version }) => version > 2).length };
  let due = 0;
  for (let n = 0; n < 50; n++) {
    const instance = n % 2 === 0 ? one : other;
    for (const [rooms, members] of [[["a"], of.a], [["b"], of.b], [["b", "a"], of.a]]) {
      const answer = await instance.publish({ rooms, event: "n", args: [n] });
      assert.deepEqual([answer.members, answer.scope], [members, "cluster"]);
      receipts.set(instance, receipts.get(instance) + answer.members);
      due += 2 * members;
    }
  }
  await until("all arrive", () => heard.reduce((sum, { events }) => sum + events.length, 0) === due);
  for (const instance of [one, other]) {
    const entries = await balanced(instance);
    // Both instances have as many members in each room.
    assert.equal(entries.recipients, receipts.get(one) + receipts.get(other));
    assert.equal(entries.written, entries.recipients);
  }
});

test("after a storm with slow, leaving and broken clients and volatile messages every delivery is accounted for", async (t) => {
  const { one, other } = await pair(t, { limits: LIMITS });
  const steady = [];
  const isOver = { yes: false };
  const running = [];
  const loop = (action) => running.push((async () => {
    while (!isOver.yes) {
      await action();
      await pause(2);
    }
  })());
  for (const instance of [one, other]) {
    for (const which of KINDS) {
      const socket = await connected(t, which, instance.url);
      await join(socket, "room");
      steady.push({ which, instance, heard: collect(socket, "n"), disconnects: collect(socket, "disconnect") });
    }
    for (let n = 0; n < 8; n++) {
      const socket = await connected(t, kind(4, n % 4 === 0 ? "polling" : "websocket"), instance.url);
      loop(async () => {
        await join(socket, "room");
        assert.equal((await ask(socket, "leave", { room: "room" })).status, "SUCCESS");
      });
    }
    for (let n = 0; n < 4; n++) {
      const socket = await connected(t, kind(4, "websocket"), instance.url, { reconnectionDelay: 10, reconnectionDelayMax: 20 });
      socket.on("connect", () => socket.emit("join", { room: "room" }, () => {}));
      await join(socket, "room");
      loop(async () => {
        // Gone without a goodbye.
        if (socket.connected) socket.io.engine.transport.ws._socket.destroy();
        await pause(20);
      });
    }
    for (const version of [4, 2]) {
      const stalled = await connected(t, kind(version, "websocket"), instance.url, { reconnection: false });
      await join(stalled, "room");
      stalled.io.engine.transport.ws._socket.pause();
    }
  }
  const sent = { small: 0, large: 0 };
  const data = "x".repeat(8 * 1024);
  for (const instance of [one, other]) {
    loop(async () => {
      sent.small++;
      await instance.publish({ room: "room", event: "n", args: [instance.pod, sent.small] });
      await instance.publish({ room: "room", event: "v", args: [data], volatile: true });
      await instance.publish({ rooms: ["nobody", "room"], event: "large", args: [data] });
      sent.large++;
    });
  }
  const shed = (instance) => instance.metric("rookery_disconnects_total", { reason: "slow" });
  await until("those who do not read are shed", async () => (await shed(one)) >= 2 && (await shed(other)) >= 2);
  await until("a storm", () => sent.large > 300);
  isOver.yes = true;
  await Promise.all(running);

  for (const instance of [one, other]) {
    const entries = await balanced(instance);
    t.diagnostic(`${instance.pod}: ${JSON.stringify(entries)}`);
    for (const outcome of OUTCOMES) assert.ok(entries[outcome] > 0, `${outcome}: ${JSON.stringify(entries)}`);
    assert.equal(await instance.metric("rookery_redis_gaps_total"), 0);
    assert.equal(await instance.metric("rookery_redis_repeats_total"), 0);
    assert.equal(await instance.metric("rookery_redis_dropped_total"), 0);
  }
  await until("who reads gets all of both instances", () => steady.every(({ heard }) => heard.length === sent.small));
  for (const { which, disconnects } of steady) assert.deepEqual(disconnects, [], which.name);
});
