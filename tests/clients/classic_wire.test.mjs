// What Node servers with @socket.io/redis-adapter do, and how Rookery's members see it: requests, flags, the
// adapter's options.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as msgpack from "@msgpack/msgpack";
import { Instance, Redis, ask, collect, connected, join, kind, until, within } from "./harness.mjs";
import { nodeServer, servers } from "./node_server.mjs";

const v4 = kind(4, "websocket");
const KINDS = [v4, kind(3, "polling"), kind(2, "websocket")];

/** Rookery and a Node server on one Redis server; `options` are those of the Node server's adapter. */
async function neighbours(t, options) {
  const redis = await Redis.start(t);
  const rookery = await Instance.start(t, { limits: { roomsPerClient: 1000 } }, { redis });
  const { io, url, publisher } = await nodeServer(t, redis, options);
  await until("both are there", async () => (await servers(publisher)) === 2);
  return { redis, rookery, io, url, publisher };
}

/** Members of a room `room`, of several kinds; `heard` is what they get as `news`. */
async function members(t, url) {
  const list = [];
  for (const which of KINDS) {
    const socket = await connected(t, which, url);
    await join(socket, "room");
    list.push({ which, socket, heard: collect(socket, "news") });
  }
  return list;
}

test("a Node server's joins, leaves and publications take effect in its order", async (t) => {
  const { rookery, io } = await neighbours(t);
  const [{ socket, heard }, { heard: witness, socket: other }] = await members(t, rookery.url);
  await join(other, "secrets");
  for (let n = 0; n < 50; n++) {
    io.in(socket.id).socketsJoin("secrets");
    io.in(socket.id).socketsLeave("secrets");
    io.to("secrets").emit("news", n);
  }
  await until("the other member hears all", () => witness.length === 50);
  io.in(socket.id).socketsJoin("last");
  await until("the last join", async () => (await rookery.api("GET", "/api/rooms/last")).body.members.length === 1);
  io.to("room").emit("news", "end");
  await until("the end", () => heard.length > 0);
  assert.deepEqual(heard, [["end"]]);
  assert.equal((await rookery.api("GET", "/api/rooms/secrets")).body.members.length, 1);
});

test("a burst of a Node server's requests is answered and carried out", async (t) => {
  const { rookery, io } = await neighbours(t);
  const [{ socket }] = await members(t, rookery.url);
  for (let n = 0; n < 300; n++) io.in(socket.id).socketsJoin(`r${n}`);
  const asked = Array.from({ length: 200 }, () => io.in("room").fetchSockets());
  for (const sockets of await within("all answers", Promise.all(asked))) assert.equal(sockets.length, 3);
  await until("all joins", async () => {
    const [remote] = await io.in(socket.id).fetchSockets();
    return remote.rooms.size === 302;
  });
  assert.equal(await rookery.metric("rookery_redis_dropped_total"), 0);
});

test("flags: local stays, volatile and compress reach the members, a timeout ends the wait for acknowledgements", async (t) => {
  const { rookery, io, url } = await neighbours(t);
  const here = await members(t, rookery.url);
  const there = await members(t, url);
  io.local.to("room").emit("news", "local");
  io.to("room").local.except("x").emit("news", "local too");
  io.volatile.to("room").emit("news", "volatile");
  io.compress(true).to(["room", "x"]).except("y").emit("news", "compressed");
  io.local.in("room").socketsJoin("local room");
  io.to("room").emit("news", "end");
  for (const { heard, which } of here) {
    await until("the end", () => heard.at(-1)?.[0] === "end");
    // A polling client may be between two requests.
    const got = heard.map(([first]) => first).filter((first) => which.transports[0] !== "polling" || first !== "volatile");
    assert.deepEqual(got.filter((first) => first !== "compressed" && first !== "volatile"), ["end"]);
    assert.ok(got.includes("compressed"));
  }
  for (const { heard } of there) await until("all", () => heard.some(([first]) => first === "end"));
  assert.equal((await rookery.api("GET", "/api/rooms/local%20room")).body.members.length, 3, "the Node server's");

  for (const { socket } of [...here.slice(0, 2), ...there]) socket.on("question", (n, done) => done(n + 1));
  const error = await io.to("room").timeout(700).emitWithAck("question", 1).catch((error) => error);
  assert.match(error.message, /timed out/);
  assert.deepEqual(error.responses, [2, 2, 2, 2, 2]);
  here[2].socket.on("question", (n, done) => done(n + 1));
  assert.deepEqual(await io.to("room").timeout(20_000).emitWithAck("question", 2), Array(6).fill(3));
});

test("a remote socket of Rookery does what a Node server's own does", async (t) => {
  const { rookery, io } = await neighbours(t);
  const [{ socket, heard }] = await members(t, rookery.url);
  socket.on("question", (bytes, done) => done({ bytes }));
  const [remote] = await io.in(socket.id).fetchSockets();
  remote.emit("news", 1);
  await until("it hears it", () => heard.length === 1);
  const bytes = Buffer.from([0, 255]);
  assert.deepEqual(await remote.timeout(20_000).emitWithAck("question", bytes), { bytes });
  remote.join(["x", "y"]);
  remote.leave("x");
  await until("it is in y", async () => (await rookery.api("GET", "/api/rooms/y")).body.members.length === 1);
  assert.equal((await rookery.api("GET", "/api/rooms/x")).body.members.length, 0);
  const rooms = await io.of("/").adapter.allRooms();
  assert.deepEqual(["room", "y", socket.id].filter((room) => !rooms.has(room)), []);
  const found = await io.in("room").except("y").fetchSockets();
  assert.equal(found.length, 2);
  const reasons = collect(socket, "disconnect");
  remote.disconnect(true);
  await until("it is disconnected", () => reasons.length > 0);
});

/** MessagePack of another library, which gives Uint8Arrays. */
const otherMessagePack = {
  encode: (value) => Buffer.from(msgpack.encode(value, { ignoreUndefined: true })),
  decode: (bytes) => msgpack.decode(bytes),
};

for (const [name, options] of [
  ["publishOnSpecificResponseChannel", { publishOnSpecificResponseChannel: true }],
  ["another MessagePack as parser", { parser: otherMessagePack }],
  ["a short requestsTimeout", { requestsTimeout: 2000 }],
]) {
  test(`the adapter's options: ${name}`, async (t) => {
    const { rookery, io, url } = await neighbours(t, options);
    const here = await members(t, rookery.url);
    const there = await members(t, url);
    const bytes = Buffer.from([0, 1, 255]);
    const args = [{ deep: [{ bytes }], text: "ü 🐦", n: [0.5, -70_000, 2 ** 40] }, null, bytes];
    io.to("room").emit("news", ...args);
    io.to(["room", "x"]).except("y").emit("news", "several");
    const json = { deep: [{ bytes: { $binary: bytes.toString("base64") } }], text: "ü 🐦", n: [0.5, -70_000, 2 ** 40] };
    await rookery.publish({ room: "room", event: "news", args: [json, null, { $binary: bytes.toString("base64") }] });
    await rookery.publish({ rooms: ["room", "x"], except: ["y"], event: "news", args: ["several"] });
    for (const { heard, which } of [...here, ...there]) {
      await until(() => `all at ${which.name}: ${JSON.stringify(heard)}`, () => heard.length === 4);
      const same = (expected) => heard.filter((got) => JSON.stringify(got) === JSON.stringify(expected)).length;
      assert.equal(same(args), 2, which.name);
      assert.equal(same(["several"]), 2, which.name);
    }
    assert.equal((await within("fetchSockets", io.in("room").fetchSockets())).length, 6);
    const { body } = await rookery.api("GET", "/api/rooms/room");
    assert.deepEqual([body.members.length, body.unanswered], [6, []]);
    assert.deepEqual(await within("serverSideEmit", io.serverSideEmitWithAck("anybody?")), [null]);
    assert.ok((await within("allRooms", io.of("/").adapter.allRooms())).has("room"));
    for (const { socket } of [...here, ...there]) socket.on("question", (arg, done) => done(arg));
    const answers = await io.to("room").timeout(20_000).emitWithAck("question", bytes);
    assert.deepEqual(answers.map((answer) => Buffer.from(answer)), Array(6).fill(bytes));
    const asked = await rookery.api("POST", "/api/publish", { room: "room", event: "question", args: [7], ack: true, timeout: 20_000 });
    assert.deepEqual([asked.body.acks, asked.body.timedOut], [Array(6).fill(7), false]);
  });
}

test("a Node server whose parser writes JSON is understood; one that reads both hears Rookery", async (t) => {
  const { decode } = (await import("notepack.io")).default;
  const parser = {
    encode: (value) => JSON.stringify(value),
    decode: (bytes) => (bytes[0] === 0x5b || bytes[0] === 0x7b ? JSON.parse(bytes) : decode(bytes)),
  };
  const { rookery, io, url } = await neighbours(t, { parser });
  const here = await members(t, rookery.url);
  const there = await members(t, url);
  io.to("room").emit("news", { n: [1, 2.5, "ü"] }, null);
  io.to(["room", "x"]).emit("news", "several");
  io.to("room").emit("news", { bytes: Buffer.from([0, 255]) });
  for (const { heard } of here) {
    await until("all of it", () => heard.length === 3);
    assert.deepEqual(heard, [[{ n: [1, 2.5, "ü"] }, null], ["several"], [{ bytes: Buffer.from([0, 255]) }]]);
  }
  await rookery.publish({ room: "room", event: "news", args: ["of Rookery"] });
  for (const { heard } of there) await until("Rookery's", () => heard.at(-1)?.[0] === "of Rookery");
  for (const { socket } of [...here, ...there]) socket.on("question", (arg, done) => done(arg));
  assert.deepEqual(await io.to("room").timeout(20_000).emitWithAck("question", { a: 1 }), Array(6).fill({ a: 1 }));
  assert.equal(await rookery.metric("rookery_redis_dropped_total"), 0);
});

test("numbers that the HTTP API accepts reach clients of both servers alike", async (t) => {
  const { rookery, url } = await neighbours(t);
  const sockets = [await connected(t, v4, rookery.url), await connected(t, v4, url)];
  for (const socket of sockets) await join(socket, "room");
  const heard = sockets.map((socket) => collect(socket, "news"));
  const numbers = "[0,1,127,128,255,256,65535,65536,4294967295,4294967296,9007199254740991,9007199254740993,18446744073709551615,-1,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649,-9223372036854775808,0.1,1e300,5e-324,1.0]";
  const response = await fetch(`${rookery.internal}/api/publish`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: `{"room":"room","event":"news","args":[${numbers}]}`,
  });
  assert.equal(response.status, 200, await response.text());
  await until("both", () => heard.every((arrived) => arrived.length === 1));
  assert.deepEqual(heard[1], heard[0]);
  assert.deepEqual(heard[0][0][0], JSON.parse(numbers));
});

test("a Node server asks for acknowledgements of a room that no member of Rookery is in", async (t) => {
  const { rookery, io } = await neighbours(t);
  await members(t, rookery.url);
  assert.deepEqual(await within("no recipients", io.to("nobody").timeout(20_000).emitWithAck("question")), []);
  assert.equal((await ask(await connected(t, v4, rookery.url), "join", { room: "r" })).status, "SUCCESS");
});
