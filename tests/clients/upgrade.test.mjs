// No message is lost, duplicated or reordered while a client changes its transport or waits.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, KINDS, collect, connected, join, kind, until } from "./harness.mjs";
import { Gate, Proxy, isPoll, isWebSocket } from "./proxy.mjs";

const LIMITS = { limits: { queue: "64MiB" } };

/** Publishes numbers in batches, and waits where `slowest` is far behind. */
async function stream(instance, room, numbers, slowest, data = "") {
  let next = 0;
  while (next < numbers) {
    const batch = Array.from({ length: 50 }, () => ({ room, event: "n", args: [next++, data] }));
    const { status, body } = await instance.api("POST", "/api/publish/batch", batch);
    assert.equal(status, 200);
    assert.ok(body.results.every((result) => result.id), JSON.stringify(body.results[0]));
    await until("the clients keep up", () => slowest() > next - 1000);
  }
}

test("clients that upgrade during 10,000 messages miss none and receive none twice", async (t) => {
  const instance = await Instance.start(t, LIMITS);
  const proxy = await Proxy.start(t, instance);
  const kinds = [4, 3, 2].flatMap((version) => Array(3).fill(kind(version, "polling", "websocket")));
  const clients = [];
  for (const which of kinds) {
    const gate = new Gate();
    proxy.gate = async (request) => {
      if (isWebSocket(request)) await gate.pass();
    };
    const socket = await connected(t, which, proxy.url, { awaitUpgrade: false });
    await until("it tries a WebSocket", () => gate.waiting > 0);
    const client = { which, socket, gate, numbers: [], transports: new Set() };
    socket.on("n", (n) => {
      client.numbers.push(n);
      client.transports.add(socket.io.engine.transport.name);
      // Each upgrades at another moment.
      if (n === 1000 + 700 * clients.indexOf(client)) gate.open();
    });
    socket.on("disconnect", (reason) => (client.disconnected = reason));
    clients.push(client);
    await join(socket, "stream");
  }
  const slowest = () => Math.min(...clients.map((client) => client.numbers.length));
  await stream(instance, "stream", 10_000, slowest);
  await until("all of them have arrived", () => slowest() >= 10_000);
  const expected = Array.from({ length: 10_000 }, (_, n) => n);
  for (const { which, numbers, transports, disconnected } of clients) {
    assert.equal(disconnected, undefined, which.name);
    assert.deepEqual([...transports], ["polling", "websocket"], which.name);
    assert.deepEqual(numbers, expected, which.name);
  }
  assert.equal(await instance.metric("rookery_connections", { transport: "polling" }), 0);
  assert.equal(await instance.metric("rookery_connections", { transport: "websocket" }), 9);
});

for (const version of [4, 3, 2]) {
  const which = kind(version, "polling", "websocket");
  test(`${which.name}: a proxy that holds the WebSocket's frames back delays no message`, async (t) => {
    const instance = await Instance.start(t, LIMITS);
    const proxy = await Proxy.start(t, instance);
    const [frames, polls] = [new Gate(), { count: 0 }];
    proxy.frames = () => frames.pass();
    proxy.gate = async (request) => {
      if (isPoll(request)) polls.count++;
    };
    const socket = await connected(t, which, proxy.url, { awaitUpgrade: false });
    const numbers = [];
    socket.on("n", (n) => numbers.push(n));
    const disconnects = collect(socket, "disconnect");
    await join(socket, "stream");
    await until("its upgrade is under way", () => frames.waiting > 0);
    const [since, before] = [Date.now(), polls.count];
    for (let n = 0; n < 20; n++) {
      await instance.publish({ room: "stream", event: "n", args: [n] });
      await until(`it hears ${n} by polling`, () => numbers.length === n + 1);
    }
    await until("the server answers polls without a message", () => polls.count > before + 25);
    // Ten a second, and one for each message.
    const most = (Date.now() - since) / 100 + 20 + 5;
    assert.ok(polls.count - before < most, `${polls.count - before} polls, expected less than ${most}`);
    assert.equal(socket.io.engine.transport.name, "polling");
    frames.open();
    for (let n = 20; n < 200; n++) await instance.publish({ room: "stream", event: "n", args: [n] });
    await until("it has heard everything", () => numbers.length >= 200);
    await until("it is on a WebSocket", () => socket.io.engine.transport.name === "websocket");
    assert.deepEqual(numbers, Array.from({ length: 200 }, (_, n) => n));
    assert.deepEqual(disconnects, []);
  });
}

for (const which of KINDS.filter((k) => String(k.transports) === "polling")) {
  test(`${which.name}: 1,000 messages between two polls all arrive, in several responses`, async (t) => {
    const instance = await Instance.start(t, LIMITS);
    const proxy = await Proxy.start(t, instance);
    const socket = await connected(t, which, proxy.url);
    const numbers = [];
    socket.on("n", (n) => numbers.push(n));
    await join(socket, "stream");
    const gate = new Gate();
    let polls = 0;
    proxy.gate = async (request) => {
      if (!isPoll(request)) return;
      polls++;
      await gate.pass();
    };
    // The poll that waits is answered by the first number; the next one is held back.
    await stream(instance, "stream", 1000, () => Infinity, "x".repeat(4000));
    await until("the next poll comes", () => gate.waiting > 0);
    const before = numbers.length;
    assert.ok(before < 1000, `${before} were not held back`);
    gate.open();
    await until("all of them have arrived", () => numbers.length >= 1000);
    assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, n) => n));
    assert.ok(polls > 2, `${polls} polls for 4 MB`);
  });
}
