// Node Socket.IO servers whose adapter has connections of ioredis interoperate with Rookery, on either wire, on one Redis
// and on a Cluster.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Instance, Redis, collect, connected, join, kind, until, within } from "./harness.mjs";
import { ioredisServer } from "./node_server.mjs";
import { RedisCluster } from "./redis_cluster.mjs";

const CLIENTS = [kind(4, "websocket"), kind(3, "websocket"), kind(2, "websocket")];

/** How long acknowledgements are waited for, in milliseconds; the adapter keeps the process alive as long. */
const ACKS = 8_000;

const BYTES = Buffer.from([0, 255, 128]);

/** Two instances of Rookery and a Node server on a Redis, and clients of each: all in `all`, and each in two other rooms. */
async function neighbours(t, { topology, ioredis }, wire) {
  const redis = await topology.start(t);
  const config = { redis: { url: redis.url, wire } };
  const [one, other] = [await Instance.start(t, config, { redis }), await Instance.start(t, config, { redis })];
  const { io, url } = await ioredisServer(t, redis, wire, await ioredis?.(redis));
  await until("all three are there", async () => (await io.of("/").adapter.serverCount()) === 3);
  const clients = [];
  for (const [place, server] of [one, other, { url }].entries()) {
    for (const which of CLIENTS) {
      const socket = await connected(t, which, server.url);
      const member = { name: `${which.name} of ${place}`, socket, version: which.version, isAtNode: place === 2 };
      for (const room of ["all", `version ${which.version}`, `place ${place}`]) await join(socket, room);
      clients.push(member);
    }
  }
  return { one, other, io, clients, ids: (list) => list.map(({ socket }) => socket.id).sort() };
}

/** Each client of `expected` hears `args` once, and the others nothing, of what `send` publishes. */
async function reaches({ one, io, clients }, expected, send, args = ["x"]) {
  const heard = new Map(clients.map((client) => [client, collect(client.socket, "news")]));
  await send("news", args);
  for (const client of clients.filter(expected)) await until(`${client.name} hears it`, () => heard.get(client).length > 0);
  // What came the way of a room, or of the namespace, has arrived before these.
  for (const rooms of [["all"], ["all", "none"]]) {
    io.to(rooms).emit("news", "end");
    await one.publish({ rooms, event: "news", args: ["end"] });
  }
  for (const [client, arrived] of heard) {
    const isEnd = ([text]) => text === "end";
    await until(`the ends at ${client.name}`, () => arrived.filter(isEnd).length === 4);
    assert.deepEqual(arrived.filter((event) => !isEnd(event)), expected(client) ? [args] : [], client.name);
    client.socket.off("news");
  }
}

async function publishedByNode(at) {
  const { io, clients } = at;
  const by = (target) => async (event, args) => void target.emit(event, ...args);
  await reaches(at, () => true, by(io.to("all")));
  await reaches(at, ({ version }) => version === 3, by(io.to("version 3")));
  await reaches(at, ({ version }) => version !== 3, by(io.to(["version 2", "version 4"])));
  await reaches(at, ({ version }) => version !== 4, by(io.to("all").except("version 4")));
  await reaches(at, () => true, by(io), [{ deep: [{ bytes: BYTES }], text: "ü 🐦" }, BYTES, 1.5, null]);
  for (const client of clients.filter(({ isAtNode }) => !isAtNode)) {
    await reaches(at, (one) => one === client, by(io.to(client.socket.id)));
  }
}

async function publishedByRookery(at) {
  const { one, clients } = at;
  const by = (target) => (event, args) => one.publish({ ...target, event, args });
  await reaches(at, () => true, by({ room: "all" }));
  await reaches(at, ({ isAtNode }) => isAtNode, by({ room: "place 2" }));
  await reaches(at, ({ version }) => version !== 3, by({ rooms: ["version 2", "version 4"] }));
  await reaches(at, ({ version }) => version !== 3, by({ room: "all", except: ["version 3"] }));
  const send = (event) => one.publish({ room: "all", event, args: [{ bytes: { $binary: BYTES.toString("base64") } }] });
  await reaches(at, () => true, send, [{ bytes: BYTES }]);
  const atNode = clients.filter(({ isAtNode, version }) => isAtNode && version !== 2);
  for (const client of atNode) await reaches(at, (one) => one === client, by({ room: client.socket.id }));
}

/** A client of Socket.IO 2 does not know the id that a Node server gives it. */
const known = ({ isAtNode, version }) => !isAtNode || version !== 2;

async function askedByNode({ io, clients, ids }) {
  const sockets = await within("fetchSockets", io.in("all").fetchSockets());
  assert.equal(sockets.length, clients.length);
  for (const id of ids(clients.filter(known))) assert.ok(sockets.some((socket) => socket.id === id), id);
  const [client] = clients;
  const remote = sockets.find(({ id }) => id === client.socket.id);
  assert.deepEqual([...remote.rooms].sort(), [client.socket.id, "all", "place 0", "version 4"].sort());
  const direct = collect(client.socket, "direct");
  remote.emit("direct", BYTES);
  await until("a remote socket is sent an event", () => direct.length === 1);
  const answers = await within("serverSideEmit", io.serverSideEmitWithAck("anybody there?", 1));
  assert.deepEqual(answers, [null, null]);
}

async function acknowledged({ one, io, clients }) {
  for (const { name, socket } of clients) socket.on("question", (bytes, done) => done({ name, bytes }));
  const names = (acks) => acks.map(({ name }) => name).sort();
  const everybody = names(clients);
  const answers = await within("emitWithAck", io.to("all").timeout(ACKS).emitWithAck("question", BYTES));
  assert.deepEqual(names(answers), everybody);
  for (const { bytes } of answers) assert.deepEqual([...bytes], [...BYTES]);
  const publication = { room: "all", event: "question", args: [7], ack: true, timeout: ACKS };
  const { body } = await one.api("POST", "/api/publish", publication);
  assert.deepEqual([names(body.acks), body.timedOut], [everybody, false]);
}

async function movedByRookery({ one, io, clients, ids }) {
  const { body } = await one.api("GET", "/api/rooms/all");
  assert.deepEqual(body.unanswered, []);
  assert.equal(body.members.length, clients.length);
  for (const id of ids(clients.filter(known))) assert.ok(body.members.some((member) => member.id === id), id);
  const there = clients.find(({ isAtNode }) => isAtNode);
  const { rooms } = io.of("/").adapter;
  const order = { member: there.socket.id };
  assert.equal((await one.api("POST", "/api/rooms/second/join", order)).body.matched, 1);
  await until("it has joined", () => rooms.has("second"));
  assert.equal((await one.api("POST", "/api/rooms/second/leave", order)).body.matched, 1);
  await until("it has left", () => !rooms.has("second"));
}

/** Leaves the clients of the instances and of the Node server disconnected. */
async function movedByNode({ one, io, clients }) {
  const size = async (room) => (await one.api("GET", `/api/rooms/${room}`)).body.members.length;
  const [first] = clients;
  io.in("all").socketsJoin(["third", "fourth"]);
  await until("all have joined", async () => (await size("fourth")) === clients.length);
  io.in(first.socket.id).socketsLeave("third");
  await until("one has left", async () => (await size("third")) === clients.length - 1);
  const reasons = clients.map(({ socket }) => collect(socket, "disconnect"));
  io.in("third").disconnectSockets(true);
  for (const [index, arrived] of reasons.entries()) {
    if (index > 0) await until(`${clients[index].name} is dismissed`, () => arrived.length === 1);
  }
  assert.equal(reasons[0].length, 0);
  await one.api("POST", "/api/disconnect", { room: "fourth" });
  await until("the last one too", () => reasons[0].length === 1);
  for (const [[reason]] of reasons) assert.equal(reason, "io server disconnect");
}

/** Node that ioredis 6 asks for. */
const NODE_OF_IOREDIS_6 = 20;

const ioredis6 = async ({ url }) => {
  const { Redis: IoRedis } = await import("ioredis6");
  return new IoRedis(url);
};

const NEIGHBOURS = {
  "ioredis 5, one Redis": { topology: Redis },
  "ioredis 6, one Redis": { topology: Redis, ioredis: ioredis6, node: NODE_OF_IOREDIS_6 },
  "ioredis 5, a Cluster": { topology: RedisCluster },
};

describe("a Node server with ioredis and Rookery", { concurrency: 2 }, () => {
  for (const [name, which] of Object.entries(NEIGHBOURS)) {
    const isOlder = parseInt(process.versions.node, 10) < (which.node ?? 0);
    const skip = isOlder && `Node ${process.version} is older than ${which.node}`;
    for (const wire of ["classic", "sharded"]) {
      test(`do for each other what two Node servers do (${wire}, ${name})`, { skip }, async (t) => {
        const at = await neighbours(t, which, wire);
        await publishedByNode(at);
        await publishedByRookery(at);
        await askedByNode(at);
        await acknowledged(at);
        await movedByRookery(at);
        await movedByNode(at);
        for (const instance of [at.one, at.other]) {
          for (const counter of ["dropped", "unsent", "gaps", "repeats"]) {
            assert.equal(await instance.metric(`rookery_redis_${counter}_total`), 0, counter);
          }
        }
      });
    }
  }
});
