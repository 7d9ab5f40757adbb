// Node Socket.IO servers with the sharded Redis adapter interoperate with Rookery on `redis.wire: sharded`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import {
  Instance, KINDS, Redis, ask, atEnd, collect, connected, join, kind, until, within,
} from "./harness.mjs";
import { shardedServer, shardedServers } from "./node_server.mjs";

const v4 = kind(4, "websocket");
const MODES = ["dynamic", "dynamic-private"];

/** Two instances of Rookery and a Node server on one Redis, in a mode of the adapter. */
async function neighbours(t, subscriptionMode, options = {}) {
  const redis = await Redis.start(t);
  const config = { redis: { url: redis.url, wire: "sharded", subscriptionMode }, ...options };
  const [one, other] = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const { io, url, publisher } = await shardedServer(t, redis, { subscriptionMode });
  await until("all three are there", async () => (await shardedServers(publisher)) === 3);
  return { one, other, io, url, publisher, redis };
}

/** Clients of every kind, on both instances in turn, in the room `all` and one for their version. */
async function clientsOf(t, instances) {
  const clients = [];
  for (const [index, which] of KINDS.entries()) {
    const socket = await connected(t, which, instances[index % instances.length].url);
    await join(socket, "all");
    await join(socket, `version ${which.version}`);
    clients.push({ which, socket });
  }
  return clients;
}

/**
 * What each client hears of `send`. `end` publishes an end by each way that `send` may use, so that all
 * of it has arrived before.
 */
async function heardBy(clients, send, end) {
  const heard = clients.map(({ socket }) => collect(socket, "news"));
  await send();
  await end();
  for (const [index, arrived] of heard.entries()) {
    await until(`the ends at ${clients[index].which.name}`, () => arrived.filter(([text]) => text === "end").length === 2);
  }
  for (const { socket } of clients) socket.off("news");
  return heard.map((arrived) => arrived.filter(([text]) => text !== "end"));
}

for (const mode of MODES) {
  test(`a Node server reaches the clients of every instance: one room, several, except, everyone, binary (${mode})`, async (t) => {
    const { one, other, io } = await neighbours(t, mode);
    const clients = await clientsOf(t, [one, other]);
    const send = async (broadcast, expected, payload = ["x"]) => {
      const heard = await heardBy(
        clients,
        () => broadcast.emit("news", ...payload),
        () => {
          io.to("all").emit("news", "end");
          io.to(["all", "none"]).emit("news", "end");
        },
      );
      for (const [index, { which }] of clients.entries()) {
        assert.deepEqual(heard[index], expected(which.version) ? [payload] : [], which.name);
      }
    };
    await send(io.to("all"), () => true);
    await send(io.to("version 3"), (version) => version === 3);
    await send(io.to(["version 2", "version 4", "all"]), () => true);
    await send(io.to(["version 2", "version 4"]), (version) => version !== 3);
    await send(io.to("all").except("version 4"), (version) => version !== 4);
    await send(io, () => true);
    const bytes = Buffer.from([0, 255, 128]);
    await send(io.to("all"), () => true, [{ deep: [{ bytes }], text: "ü 🐦" }, bytes, 1.5, null]);
    await send(io, () => true, [{ $binary: "not base64 at all" }]);
    await send(io.to("all"), () => true, [{ $binary: "AQI=" }]);
    for (const { which, socket } of clients) {
      const heard = collect(socket, "direct");
      io.to(socket.id).emit("direct", 1);
      await until(`${which.name} is addressed by its id`, () => heard.length === 1);
    }
  });

  test(`Rookery reaches a Node server's clients and those of the other instance (${mode})`, async (t) => {
    const { one, other, url } = await neighbours(t, mode);
    const clients = await clientsOf(t, [{ url }, other]);
    const send = async (publication, expected, args = ["x"]) => {
      const heard = await heardBy(
        clients,
        () => one.publish({ event: "news", args, ...publication }),
        async () => {
          await one.publish({ room: "all", event: "news", args: ["end"] });
          await one.publish({ rooms: ["all", "none"], event: "news", args: ["end"] });
        },
      );
      for (const [index, { which, socket }] of clients.entries()) {
        assert.deepEqual(heard[index], expected(which.version, socket.id) ? [args] : [], which.name);
      }
    };
    await send({ room: "all" }, () => true);
    await send({ room: "version 2" }, (version) => version === 2);
    await send({ rooms: ["version 2", "version 4", "all"] }, () => true);
    await send({ room: "all", except: ["version 3"] }, (version) => version !== 3);
    const { id } = clients[0].socket;
    await send({ room: "all", except: [id] }, (_, other) => other !== id);
    for (const { socket } of clients) await send({ room: socket.id }, (_, id) => id === socket.id);

    const bytes = Buffer.from([1, 0, 254]);
    const heard = clients.map(({ socket }) => collect(socket, "bytes"));
    const args = [{ deep: [{ bytes: { $binary: bytes.toString("base64") } }] }];
    await one.publish({ room: "all", event: "bytes", args });
    const here = await connected(t, v4, one.url);
    const said = { room: "all", event: "bytes", data: [bytes, "of a client"] };
    assert.equal((await ask(here, "publish", said)).status, "SUCCESS");
    for (const arrived of heard) {
      await until("binary", () => arrived.length === 2);
      assert.deepEqual(arrived, [[{ deep: [{ bytes }] }], [[bytes, "of a client"]]]);
    }
  });

  test(`fetchSockets, socketsJoin, socketsLeave and disconnectSockets of a Node server (${mode})`, async (t) => {
    const { one, other, io, url } = await neighbours(t, mode);
    const [here, there, node] = [await connected(t, v4, one.url), await connected(t, kind(2, "websocket"), other.url), await connected(t, v4, url)];
    for (const socket of [here, there, node]) await join(socket, "room");
    await join(here, "second");
    const sockets = await within("fetchSockets", io.in("room").fetchSockets());
    assert.deepEqual(sockets.map(({ id }) => id).sort(), [here.id, there.id, node.id].sort());
    const remote = sockets.find(({ id }) => id === here.id);
    assert.deepEqual([...remote.rooms].sort(), [here.id, "room", "second"].sort());
    assert.equal((await within("fetchSockets", io.fetchSockets())).length, 3);
    assert.equal((await within("fetchSockets", io.in("nobody").fetchSockets())).length, 0);

    const direct = collect(here, "direct");
    remote.emit("direct", Buffer.from([7]));
    await until("a remote socket is sent an event", () => direct.length === 1);
    here.on("question", (text, done) => done(`${text}!`));
    assert.equal(await within("emitWithAck", remote.timeout(20_000).emitWithAck("question", "who")), "who!");

    const members = async (room) => (await one.api("GET", `/api/rooms/${room}`)).body.members.map(({ id }) => id).sort();
    remote.join("third");
    await until("it has joined", async () => (await members("third")).length === 1);
    io.in("room").socketsJoin(["fourth", "fifth"]);
    await until("all have joined", async () => (await members("fifth")).length === 3);
    io.in(there.id).socketsLeave("fourth");
    await until("one has left", async () => (await members("fourth")).length === 2);
    const heard = [here, there].map((socket) => collect(socket, "news"));
    io.to("fifth").emit("news", 1);
    for (const arrived of heard) await until("the new room is heard", () => arrived.length === 1);
    const reasons = [here, there].map((socket) => collect(socket, "disconnect"));
    io.in("fourth").disconnectSockets(true);
    await until("one is dismissed", () => reasons[0].length === 1);
    assert.equal(reasons[0][0][0], "io server disconnect");
    assert.equal(reasons[1].length, 0);
    io.in(there.id).disconnectSockets();
    await until("the other one too", () => reasons[1].length === 1);
  });

  test(`the HTTP API lists, moves and disconnects a Node server's clients (${mode})`, async (t) => {
    const { one, other, io, url } = await neighbours(t, mode);
    const [here, there] = [await connected(t, v4, other.url), await connected(t, v4, url)];
    for (const socket of [here, there]) await join(socket, "first");
    const { body } = await one.api("GET", "/api/rooms/first");
    assert.deepEqual(body.members.map(({ id }) => id).sort(), [here.id, there.id].sort());
    assert.deepEqual(body.unanswered, []);
    const joined = await one.api("POST", "/api/rooms/second/join", { member: there.id });
    assert.deepEqual(joined, { status: 200, body: { matched: 1, unanswered: [] } });
    await until("it has joined", () => io.sockets.adapter.rooms.has("second"));
    await one.api("POST", "/api/rooms/second/leave", { member: there.id });
    await until("it has left", () => !io.sockets.adapter.rooms.has("second"));
    const reasons = [here, there].map((socket) => collect(socket, "disconnect"));
    assert.equal((await one.api("POST", "/api/disconnect", { room: "first" })).body.matched, 2);
    for (const arrived of reasons) {
      await until("it is dismissed", () => arrived.length === 1);
      assert.equal(arrived[0][0], "io server disconnect");
    }
  });

  test(`acknowledgements are collected both ways, with binary and time-outs (${mode})`, async (t) => {
    const { one, other, io, url } = await neighbours(t, mode);
    const answering = async (target, room, name) => {
      const socket = await connected(t, name.which ?? v4, target);
      socket.on("question", (bytes, done) => done({ name: name.text, bytes }));
      await join(socket, room);
      return socket;
    };
    await answering(one.url, "room", { text: "one" });
    await answering(other.url, "room", { text: "other", which: kind(2, "websocket") });
    await answering(url, "room", { text: "node" });
    const names = (acks) => acks.map(({ name }) => name).sort();
    const bytes = Buffer.from([1, 2]);
    const answers = await within("emitWithAck", io.to("room").timeout(20_000).emitWithAck("question", bytes));
    assert.deepEqual(names(answers), ["node", "one", "other"]);
    for (const answer of answers) assert.deepEqual([...answer.bytes], [1, 2]);
    assert.deepEqual(await within("emitWithAck", io.to("nobody").timeout(20_000).emitWithAck("question", 1)), []);
    assert.deepEqual(await within("emitWithAck", io.to([null]).timeout(20_000).emitWithAck("question", 1)), []);

    const publication = { room: "room", event: "question", args: [7], ack: true, timeout: 20_000 };
    const { body } = await one.api("POST", "/api/publish", publication);
    assert.deepEqual(names(body.acks), ["node", "one", "other"]);
    assert.deepEqual([body.scope, body.recipients, body.timedOut], ["cluster", 3, false]);

    const silent = await connected(t, v4, other.url);
    await join(silent, "room");
    const failed = await within("emitWithAck", io.to("room").timeout(1_000).emitWithAck("question", 1).catch((error) => error));
    assert.match(failed.message, /timed out/);
    assert.deepEqual(names(failed.responses), ["node", "one", "other"]);
  });

  test(`serverSideEmit with an ack completes without a timeout (${mode})`, async (t) => {
    const { one, other, io } = await neighbours(t, mode);
    const answers = await within("serverSideEmit", io.serverSideEmitWithAck("anybody there?", 1));
    assert.deepEqual(answers, [null, null]);
    io.serverSideEmit("nobody waits");
    // A request that follows it is answered, so it was read.
    assert.equal((await within("fetchSockets", io.fetchSockets())).length, 0);
    for (const server of [one, other]) assert.equal(await server.metric("rookery_redis_dropped_total"), 0);
  });

  test(`an instance hears nothing of rooms without members there (${mode})`, async (t) => {
    const { one, other, io, publisher } = await neighbours(t, mode);
    const here = await connected(t, v4, one.url);
    await join(here, "room");
    const heard = collect(here, "news");
    const before = await other.metric("rookery_redis_messages_total", { direction: "in" });
    for (let n = 0; n < 100; n++) io.to("room").emit("news", n);
    for (let n = 0; n < 100; n++) await one.publish({ room: "elsewhere", event: "news", args: [n] });
    await until("all arrive where the room has a member", () => heard.length === 100);
    assert.deepEqual(heard.map(([n]) => n), [...Array(100).keys()]);
    assert.equal(await other.metric("rookery_redis_messages_total", { direction: "in" }), before);
    const channels = await publisher.sendCommand(["PUBSUB", "SHARDCHANNELS", "socket.io#/#*"]);
    assert.equal(channels.map(String).includes("socket.io#/#elsewhere#"), false);
    assert.equal(await one.metric("rookery_redis_dropped_total"), 0);
  });
}

test("rooms whose names have 20 characters, or are that of an instance, are heard like others", async (t) => {
  const { one, other, io, url } = await neighbours(t, "dynamic");
  const rooms = ["exactly-20-character", "zwanzig zeichen: äöü", one.pod, other.pod];
  for (const room of rooms) {
    const clients = [await connected(t, v4, one.url), await connected(t, v4, other.url), await connected(t, v4, url)];
    for (const socket of clients) await join(socket, room);
    const heard = clients.map((socket) => collect(socket, "news"));
    io.to(room).emit("news", "of Node");
    await one.publish({ room, event: "news", args: ["of Rookery"] });
    for (const arrived of heard) await until(room, () => arrived.length === 2);
  }
});

test("a Redis that does not permit the wire is named with the fix, and used once it does", async (t) => {
  const redis = await Redis.start(t);
  const admin = await createClient({ url: redis.url }).connect();
  atEnd(t, () => admin.close());
  await admin.sendCommand(["ACL", "SETUSER", "narrow", "on", "nopass", "~*", "&*", "+@all", "-ssubscribe"]);
  const url = redis.url.replace("//", "//narrow:x@");
  const instance = await Instance.start(t, { redis: { url, wire: "sharded" } });
  const says = (line) => line.includes("does not permit SSUBSCRIBE") && line.includes("docs/redis.md");
  await until("the log says why", () => instance.lines.some(says));
  assert.equal(await instance.metric("rookery_redis_up"), 0);
  await admin.sendCommand(["ACL", "SETUSER", "narrow", "+ssubscribe"]);
  await instance.redisIs(1);
});

test("Redis that restarts is found again, with all rooms", async (t) => {
  const redis = await Redis.start(t);
  const config = { redis: { url: redis.url, wire: "sharded" } };
  const [one, other] = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const [here, there] = [await connected(t, v4, one.url), await connected(t, v4, other.url)];
  for (const socket of [here, there]) await join(socket, "room");
  await redis.kill();
  await one.redisIs(0);
  await redis.run();
  for (const instance of [one, other]) await instance.redisIs(1);
  const heard = [here, there].map((socket) => collect(socket, "news"));
  const { scope } = await one.publish({ room: "room", event: "news", args: [1] });
  assert.equal(scope, "cluster");
  for (const arrived of heard) await until("both hear it", () => arrived.length === 1);
});
