// Emitters of several kinds and times publish on the Redis of two instances: what stock clients hear.
import assert from "node:assert/strict";
import { test } from "node:test";
import { encode as pack } from "@msgpack/msgpack";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import oldEmitter from "socket.io-emitter";
import { KINDS, ask, atEnd, collect, connected, join, kind, pair, until } from "./harness.mjs";
import { nodeServer } from "./node_server.mjs";
import { pythonEmitter } from "./python.mjs";

const v4 = kind(4, "websocket");

/** Two instances with two namespaces, and a connection to their Redis. */
async function cluster(t) {
  const { redis, one, other } = await pair(t, { namespaces: ["/", "/chat"] });
  const publisher = await createClient({ url: redis.url }).connect();
  atEnd(t, () => publisher.close());
  return { redis, one, other, publisher };
}

/** Clients of every kind, on both instances in turn: each in `all`, and in `even` or `odd`. */
async function audience(t, { one, other }, path = "") {
  const clients = [];
  for (const [index, which] of KINDS.entries()) {
    const socket = await connected(t, which, `${[one, other][index % 2].url}${path}`);
    for (const room of ["all", index % 3 === 0 ? "third" : "rest", index % 2 === 0 ? "even" : "odd"]) {
      await join(socket, room);
    }
    clients.push({ which, index, socket, heard: collect(socket, "news") });
  }
  return clients;
}

/**
 * Publishes by `send`, then two ends: to the room `all`, and to the namespace, as nothing overtakes on
 * either way. Each client must have heard `args` once where `expected(index)` holds, and else nothing.
 */
async function expectHeard(clients, send, end, expected, args) {
  for (const { heard } of clients) heard.length = 0;
  await send();
  await end();
  for (const { which, index, heard } of clients) {
    const ends = () => heard.filter(([first]) => first === "end").length;
    await until(() => `the ends at ${which.name}: ${JSON.stringify(heard)}`, () => ends() === 2);
    const arrived = heard.filter(([first]) => first !== "end");
    assert.deepEqual(arrived, expected(index) ? [args] : [], which.name);
  }
}

const everyone = () => true;
const even = (index) => index % 2 === 0;
const third = (index) => index % 3 === 0;

test("@socket.io/redis-emitter 5: rooms, except, namespaces and flags", async (t) => {
  const at = await cluster(t);
  const emitter = new Emitter(at.publisher);
  const clients = await audience(t, at);
  const elsewhere = await audience(t, at, "/chat");
  const end = (of) => async () => {
    of.to("all").emit("news", "end");
    of.emit("news", "end");
  };
  const check = async (broadcast, expected, args = [{ n: 1 }, "two"]) => {
    await expectHeard(clients, () => broadcast.emit("news", ...args), end(emitter), expected, args);
  };
  await check(emitter.to("all"), everyone);
  await check(emitter.in("third"), third);
  await check(emitter.to(["third", "even"]), (index) => third(index) || even(index));
  await check(emitter.to("third").to("even").to("none"), (index) => third(index) || even(index));
  await check(emitter.to(["third", "even"]).except("odd"), even);
  await check(emitter.except(["odd", "third"]), (index) => even(index) && !third(index));
  await check(emitter.except(clients[0].socket.id), (index) => index !== 0);
  await check(emitter, everyone, []);
  for (const flagged of [emitter.compress(true), emitter.compress(false), emitter.volatile]) {
    await check(flagged, everyone);
    await check(flagged.to("even").except("third"), (index) => even(index) && !third(index));
  }
  for (const of of [emitter.of("/chat"), emitter.of("chat")]) {
    const args = ["for the others"];
    await expectHeard(elsewhere, () => of.to("odd").emit("news", ...args), end(of), (i) => !even(i), args);
    await check(emitter.to("odd"), (index) => !even(index));
  }
  emitter.of("/nobody").emit("news", "in a namespace that is not there");
  await check(emitter.to("all"), everyone);
});

test("@socket.io/redis-emitter 5: values become what clients of a Node server receive", async (t) => {
  const at = await cluster(t);
  const { url } = await nodeServer(t, at.redis);
  const emitter = new Emitter(at.publisher);
  BigInt.prototype.toJSON = function () {
    return this.toString();
  };
  t.after(() => delete BigInt.prototype.toJSON);
  const bytes = Buffer.from([0, 1, 128, 255]);
  const values = {
    dates: [new Date(0), new Date(1234567890123), new Date(-1), new Date("2600-03-01T00:00:00.999Z")],
    "big integers": [2n ** 80n, -5n, [1n], Number.MAX_SAFE_INTEGER, -(2 ** 53), 2 ** 32, 2 ** 31, -(2 ** 31) - 1],
    numbers: [0, -0, 127, 128, -32, -33, 255, 256, 65535, 65536, 1.5, 1e300, 5e-324, NaN, Infinity],
    "typed arrays": [new Uint8Array(bytes), new Uint16Array([1, 2, 300]), new Float64Array([1.5]), new DataView(bytes.buffer, 0, 0)],
    "an ArrayBuffer": [new Uint8Array([7, 8]).buffer],
    "nested binary": [{ deep: [{ bytes, more: [Buffer.alloc(0), { x: new Uint8Array([9]) }] }] }, bytes],
    "long binary": [Buffer.alloc(300, 1), Buffer.alloc(70_000, 2)],
    "nothing": [undefined, null, { gone: undefined, fn() {} }, [undefined]],
    text: ["ü 🐦 \u0000 \u2028", "x".repeat(31), "x".repeat(32), "ä".repeat(300), "x".repeat(70_000)],
    "long lists": [Array.from({ length: 20 }, (_, n) => n), Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`k${n}`, n]))],
    "objects with toJSON": [{ toJSON: () => ({ by: "toJSON" }) }, new Map([["a", 1]]), new Set([1])],
  };
  const kinds = [v4, kind(4, "polling"), kind(3, "polling"), kind(3, "websocket"), kind(2, "websocket")];
  for (const which of kinds) {
    const sockets = [await connected(t, which, url), await connected(t, which, at.one.url)];
    for (const socket of sockets) await join(socket, which.name);
    for (const [what, args] of Object.entries(values)) {
      const heard = sockets.map((socket) => collect(socket, what));
      emitter.to(which.name).emit(what, ...args);
      await until(`${what} at ${which.name}`, () => heard.every((arrived) => arrived.length === 1));
      assert.deepEqual(heard[1], heard[0], `${what} at ${which.name}`);
    }
  }
});

test("@socket.io/redis-emitter 5: members join, leave and are disconnected; serverSideEmit is for servers", async (t) => {
  const at = await cluster(t);
  const emitter = new Emitter(at.publisher);
  const clients = await audience(t, at);
  const rooms = (room) => async () => (await at.one.api("GET", `/api/rooms/${room}`)).body.members.length;
  emitter.serverSideEmit("hello", 1, { two: 3 });
  emitter.in(["even", "third"]).socketsJoin(["new", "newer"]);
  await until("they have joined", async () => (await rooms("new")()) === 6 && (await rooms("newer")()) === 6);
  emitter.except("odd").socketsLeave("new");
  await until("the even ones have left", async () => (await rooms("new")()) === 1);
  emitter.in("newer").except("even").disconnectSockets(true);
  await until("one is dismissed", async () => (await rooms("newer")()) === 5);
  const reasons = clients.map(({ socket }) => collect(socket, "disconnect"));
  emitter.of("/chat").disconnectSockets();
  emitter.in("even").disconnectSockets();
  await until("the even ones are dismissed", async () => (await rooms("all")()) === 3);
  emitter.disconnectSockets(true);
  await until("all are dismissed", async () => (await rooms("all")()) === 0);
  await until("they know it", () => reasons.filter((arrived) => arrived.length > 0).length >= 8);
  for (const [reason] of reasons.flat()) assert.equal(reason, "io server disconnect");
  for (const instance of [at.one, at.other]) {
    assert.equal(await instance.metric("rookery_redis_dropped_total"), 0);
  }
});

test("socket.io-emitter 3, of the time of Socket.IO 2", async (t) => {
  const at = await cluster(t);
  const emitter = oldEmitter({ host: "127.0.0.1", port: at.redis.port });
  atEnd(t, () => emitter.redis.end(true));
  const clients = await audience(t, at);
  const end = async () => {
    emitter.to("all").emit("news", "end");
    emitter.emit("news", "end");
  };
  const check = async (prepare, expected, args = [{ n: 1 }]) => {
    await expectHeard(clients, () => prepare(emitter).emit("news", ...args), end, expected, args);
  };
  await check((to) => to, everyone);
  await check((to) => to.to("third"), third);
  await check((to) => to.in("third").to("even"), (index) => third(index) || even(index));
  await check((to) => to.json.volatile.broadcast.to("odd"), (index) => !even(index));
  const bytes = Buffer.from([0, 255]);
  await check((to) => to.to("all"), everyone, [{ deep: [{ bytes }] }, bytes, null, "ü", 1.5, -70_000]);
  const dates = collect(clients[0].socket, "dates");
  emitter.to("all").emit("dates", new Date(1234), undefined);
  await until("a date", () => dates.length > 0);
  assert.deepEqual(dates[0], ["1970-01-01T00:00:01.234Z", null]);
  const chat = await connected(t, v4, `${at.one.url}/chat`);
  const chatted = collect(chat, "news");
  emitter.of("/chat").emit("news", "chat");
  await until("the namespace", () => chatted.length === 1);
});

const encode = (value) => Buffer.from(pack(value));

/** MessagePack as PHP's `msgpack_pack` of old writes it: strings of 32 bytes and more as raw 16. */
function php(value) {
  if (typeof value === "string" && Buffer.byteLength(value) > 31) {
    const head = Buffer.from([0xda, 0, 0]);
    head.writeUInt16BE(Buffer.byteLength(value), 1);
    return Buffer.concat([head, Buffer.from(value)]);
  }
  if (Array.isArray(value)) return Buffer.concat([Buffer.from([0x90 | value.length]), ...value.map(php)]);
  if (value === null || typeof value !== "object") return encode(value);
  // PHP's empty array is a list.
  const entries = Object.entries(value);
  if (entries.length === 0) return php([]);
  return Buffer.concat([Buffer.from([0x80 | entries.length]), ...entries.flat().map(php)]);
}

test("emitters for PHP, Ruby and Python: without a sender on one channel, or once for each room", async (t) => {
  const at = await cluster(t);
  const clients = await audience(t, at);
  const long = "x".repeat(40);
  const packet = (...args) => ({ type: 2, data: ["news", ...args], nsp: "/" });
  /** The oldest form. */
  const bare = (rooms, flags, ...args) => {
    return at.publisher.publish("socket.io#emitter", php([packet(...args), { rooms, flags }]));
  };
  /** That of many languages: one message, published on each room's channel. */
  const each = async (rooms, flags, ...args) => {
    const message = php(["emitter", packet(...args), { rooms, flags }]);
    if (rooms.length === 0) await at.publisher.publish("socket.io#/#", message);
    for (const room of rooms) await at.publisher.publish(`socket.io#/#${room}#`, message);
  };
  /** ziyasal's for Python, which writes "" for an empty list. */
  const python = (rooms, flags, ...args) => each(rooms.length === 0 ? "" : rooms, flags || "", ...args);
  for (const form of [bare, each, python]) {
    const end = async () => {
      await form(["all"], {}, "end");
      await form([], {}, "end");
    };
    for (const [rooms, expected] of [
      [[], everyone],
      [["all"], everyone],
      [["even"], even],
      [["even", "third"], (index) => even(index) || third(index)],
      [["third", "all", "even"], everyone],
    ]) {
      const args = [{ text: "ü 🐦", long, list: [1, -5, 300, 1.5, null, true] }, long];
      await expectHeard(clients, () => form(rooms, { volatile: true }, ...args), end, expected, args);
    }
  }
  for (const instance of [at.one, at.other]) {
    assert.equal(await instance.metric("rookery_redis_dropped_total"), 0);
  }
});

test("python-socketio's RedisManager on the channel socket.io-python", async (t) => {
  const at = await cluster(t);
  const call = pythonEmitter(t, at.redis, "socket.io-python");
  const clients = await audience(t, at);
  const end = async () => {
    await call("emit", ["news", "end"], { room: "all" });
    await call("emit", ["news", "end"]);
  };
  const check = async (data, kwargs, expected, args = [data]) => {
    await expectHeard(clients, () => call("emit", ["news", data], kwargs), end, expected, args);
  };
  await check({ n: 1 }, {}, everyone);
  await check("x", { room: "even" }, even);
  await check("x", { to: "third" }, third);
  await check("x", { room: ["even", "third"] }, (index) => even(index) || third(index));
  await check("x", { room: "all", skip_sid: clients[0].socket.id }, (index) => index !== 0);
  await check("x", { skip_sid: [0, 1].map((n) => clients[n].socket.id) }, (index) => index > 1);
  await check("x", { to: clients[3].socket.id }, (index) => index === 3);
  await check(null, { room: "all" }, everyone, []);
  const bytes = Buffer.from([0, 255]);
  await check({ deep: [{ bytes }, "ü 🐦"] }, { room: "all" }, everyone);
  await check({ $tuple: [bytes, 2, [bytes]] }, { room: "all" }, everyone, [bytes, 2, [bytes]]);
  const chat = await connected(t, v4, `${at.one.url}/chat`);
  const chatted = collect(chat, "news");
  await call("emit", ["news", "chat"], { namespace: "/chat" });
  await until("the namespace", () => chatted.length === 1);

  const members = async (room) => (await at.one.api("GET", `/api/rooms/${room}`)).body.members.length;
  const { id } = clients[1].socket;
  await call("enter_room", [id, "/", "new"]);
  await until("it has joined", async () => (await members("new")) === 1);
  await call("leave_room", [id, "/", "new"]);
  await until("it has left", async () => (await members("new")) === 0);
  await call("close_room", ["third", "/"]);
  await until("the room is empty", async () => (await members("third")) === 0);
  const reasons = collect(clients[1].socket, "disconnect");
  // A manager without a server cannot; this is what others write.
  await at.publisher.publish("socket.io-python", JSON.stringify({ method: "disconnect", sid: id, namespace: "/" }));
  await until("it is disconnected", () => reasons.length > 0);
  assert.equal(reasons[0][0], "io server disconnect");
  assert.equal(await members("all"), KINDS.length - 1);
  for (const instance of [at.one, at.other]) {
    assert.equal(await instance.metric("rookery_redis_dropped_total"), 0);
  }
});

test("what is not understood is counted, and logged with who likely sent it", async (t) => {
  const { publisher, one, other } = await cluster(t);
  const strange = [
    ["socket.io-python", Buffer.from("80049500", "hex"), "python-socketio before 5.14, which pickles"],
    ["socket.io-python", '{"method":"emit"}', "JSON"],
    ["socket.io#/#", 'a:2:{i:0;s:1:"x";}', "PHP"],
    ["socket.io#emitter", Buffer.from("9201c0", "hex"), "Socket.IO 1"],
    ["socket.io#/#", encode(["emitter", { type: 2, data: ["x"] }, null]), "@socket.io/redis-emitter"],
    ["socket.io#/#", encode(["abcdef", { type: 3, data: ["x"] }, {}]), "@socket.io/redis-adapter"],
  ];
  for (const [channel, message] of strange) await publisher.publish(channel, message);
  for (const instance of [one, other]) {
    await until("it is counted", async () => (await instance.metric("rookery_redis_dropped_total")) === strange.length);
  }
  const logged = one.lines.filter((line) => line.includes("dropped what came from Redis"));
  assert.ok(logged.length > 0 && logged.length < strange.length, "some lines, not all");
  assert.ok(logged[0].includes(strange[0][2]), logged[0]);
  const socket = await connected(t, v4, one.url);
  assert.equal((await ask(socket, "join", { room: "r" })).status, "SUCCESS");
});
