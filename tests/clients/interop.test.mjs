// Node Socket.IO servers with the Redis adapter, and the emitter, interoperate with Rookery.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import {
  Instance, KINDS, Redis, ask, atEnd, collect, connected, join, kind, until, within,
} from "./harness.mjs";
import { nodeServer, servers } from "./node_server.mjs";

const v4 = kind(4, "websocket");

/** Rookery, a Node server and an emitter on one Redis server. */
async function neighbours(t, config) {
  const redis = await Redis.start(t);
  const rookery = await Instance.start(t, config, { redis });
  const { io, url } = await nodeServer(t, redis);
  const publisher = await createClient({ url: redis.url }).connect();
  atEnd(t, () => publisher.close());
  // Node asks those who subscribe to the request channel.
  await until("both are there", async () => (await servers(publisher)) === 2);
  return { rookery, io, url, emitter: new Emitter(publisher), redis };
}

/** Publishes by `send` until the pipe is known to be through, then gives what came before "end". */
async function heardBy(sockets, send, end) {
  const heard = sockets.map((socket) => collect(socket, "news"));
  await send();
  await end();
  for (const arrived of heard) await until("the end", () => arrived.at(-1)?.[0] === "end");
  for (const socket of sockets) socket.off("news");
  return heard.map((arrived) => arrived.slice(0, -1));
}

for (const from of ["a Node server", "an emitter"]) {
  test(`${from} reaches Rookery's members: one room, several rooms, except, everyone, binary`, async (t) => {
    const { rookery, io, emitter } = await neighbours(t);
    const source = from === "an emitter" ? emitter : io;
    const clients = [];
    for (const which of KINDS) {
      const socket = await connected(t, which, rookery.url);
      await join(socket, "all");
      await join(socket, `version ${which.version}`);
      clients.push({ which, socket });
    }
    const send = async (broadcast, expected, payload = ["x"]) => {
      const heard = await heardBy(
        clients.map(({ socket }) => socket),
        () => broadcast.emit("news", ...payload),
        // The same way as before it, so that nothing is overtaken: a room, or the namespace.
        async () => {
          source.to("all").emit("news", "x end");
          source.to(["all", "none"]).emit("news", "end");
        },
      );
      for (const [index, { which }] of clients.entries()) {
        const arrived = heard[index].filter(([first]) => first !== "x end");
        assert.deepEqual(arrived, expected(which.version) ? [payload] : [], which.name);
      }
    };
    await send(source.to("all"), () => true);
    await send(source.to("version 3"), (version) => version === 3);
    await send(source.to(["version 2", "version 4", "all"]), () => true);
    await send(source.to(["version 2", "version 4"]), (version) => version !== 3);
    await send(source.to("all").except("version 4"), (version) => version !== 4);
    await send(source.except(["version 4", "version 2"]), (version) => version === 3);
    await send(source, () => true);
    const bytes = Buffer.from([0, 255, 128]);
    await send(source.to("all"), () => true, [{ deep: [{ bytes }], text: "ü 🐦" }, bytes, 1.5, null]);
    if (source === io) {
      const { id } = clients.find(({ which }) => which === v4).socket;
      const heard = collect(clients[0].socket, "direct");
      io.to(id).emit("direct", 1);
      await until("a member is addressed by its id", () => heard.length === 1);
    }
  });
}

test("Rookery reaches a Node server's clients: one room, several rooms, except, binary", async (t) => {
  const { rookery, url } = await neighbours(t);
  const clients = [];
  for (const which of [v4, kind(3, "polling"), kind(2, "websocket")]) {
    const socket = await connected(t, which, url);
    await join(socket, "all");
    await join(socket, `version ${which.version}`);
    clients.push({ which, socket });
  }
  const here = await connected(t, v4, rookery.url);
  const send = async (publication, expected, args = ["x"]) => {
    const heard = await heardBy(
      clients.map(({ socket }) => socket),
      () => rookery.publish({ event: "news", args, ...publication }),
      async () => {
        await rookery.publish({ room: "all", event: "news", args: ["x end"] });
        await rookery.publish({ rooms: ["all", "none"], event: "news", args: ["end"] });
      },
    );
    for (const [index, { which }] of clients.entries()) {
      const arrived = heard[index].filter(([first]) => first !== "x end");
      assert.deepEqual(arrived, expected(which.version) ? [args] : [], which.name);
    }
  };
  await send({ room: "all" }, () => true);
  await send({ room: "version 2" }, (version) => version === 2);
  await send({ rooms: ["version 2", "version 4", "all"] }, () => true);
  await send({ room: "all", except: ["version 3"] }, (version) => version !== 3);
  const [{ socket: first }] = clients;
  await send({ room: "all", except: [first.id] }, (version) => version !== 4);

  const bytes = Buffer.from([1, 0, 254]);
  const heard = clients.map(({ socket }) => collect(socket, "bytes"));
  const args = [{ deep: [{ bytes: { $binary: bytes.toString("base64") } }] }];
  await rookery.publish({ room: "all", event: "bytes", args });
  const said = { room: "all", event: "bytes", data: [bytes, "of a client"] };
  assert.equal((await ask(here, "publish", said)).status, "SUCCESS");
  for (const arrived of heard) {
    await until("binary", () => arrived.length === 2);
    assert.deepEqual(arrived, [[{ deep: [{ bytes }] }], [[bytes, "of a client"]]]);
  }
});

test("fetchSockets lists Rookery's members, and Rookery's API lists the Node server's", async (t) => {
  const { rookery, io, url } = await neighbours(t);
  const here = await connected(t, v4, rookery.url);
  const there = await connected(t, v4, url);
  for (const socket of [here, there]) await join(socket, "room");
  await join(here, "second");
  const sockets = await within("fetchSockets", io.in("room").fetchSockets());
  assert.deepEqual(sockets.map(({ id }) => id).sort(), [here.id, there.id].sort());
  const remote = sockets.find(({ id }) => id === here.id);
  assert.deepEqual([...remote.rooms].sort(), [here.id, "room", "second"].sort());
  assert.equal((await io.fetchSockets()).length, 2);
  assert.equal((await io.in("nobody").fetchSockets()).length, 0);
  const { body } = await rookery.api("GET", "/api/rooms/room");
  assert.deepEqual(body.members.map(({ id }) => id).sort(), [here.id, there.id].sort());
  assert.deepEqual(body.unanswered, []);
});

for (const from of ["a Node server", "an emitter"]) {
  test(`${from} makes Rookery's members join, leave and disconnect`, async (t) => {
    const { rookery, io, emitter } = await neighbours(t);
    const source = from === "an emitter" ? emitter : io;
    const clients = await Promise.all(
      [v4, kind(3, "polling"), kind(2, "websocket"), kind(2, "polling")].map((which) => connected(t, which, rookery.url)),
    );
    for (const socket of clients) await join(socket, "first");
    const members = async (room) => {
      const { body } = await rookery.api("GET", `/api/rooms/${room}`);
      return body.members.length;
    };
    source.in("first").socketsJoin(["second", "third"]);
    await until("they have joined", async () => (await members("third")) === 4);
    assert.equal(await members("second"), 4);
    source.in(clients[0].id).socketsLeave("second");
    await until("one has left", async () => (await members("second")) === 3);
    source.in("first").socketsLeave("third");
    await until("all have left", async () => (await members("third")) === 0);
    const reasons = clients.map((socket) => collect(socket, "disconnect"));
    source.in("second").disconnectSockets(true);
    for (const arrived of reasons.slice(1)) await until("they are dismissed", () => arrived.length > 0);
    for (const [reason] of reasons.slice(1).flat()) assert.equal(reason, "io server disconnect");
    assert.equal(reasons[0].length, 0);
    source.disconnectSockets();
    await until("the last one is dismissed too", () => reasons[0].length > 0);
    assert.equal(reasons[0][0][0], "io server disconnect");
    await until("no session is left", async () => (await rookery.metric("rookery_connections")) === 0);
  });
}

test("Rookery's API makes a Node server's clients join, leave and disconnect", async (t) => {
  const { rookery, io, url } = await neighbours(t);
  const there = await connected(t, v4, url);
  await join(there, "first");
  const joined = await rookery.api("POST", "/api/rooms/second/join", { member: there.id });
  assert.deepEqual(joined, { status: 200, body: { matched: 1, unanswered: [] } });
  await until("it has joined", () => io.sockets.adapter.rooms.has("second"));
  await rookery.api("POST", "/api/rooms/second/leave", { member: there.id });
  await until("it has left", () => !io.sockets.adapter.rooms.has("second"));
  const reasons = collect(there, "disconnect");
  const { body } = await rookery.api("POST", "/api/disconnect", { room: "first" });
  assert.equal(body.matched, 1);
  await until("it is dismissed", () => reasons.length > 0);
  assert.equal(reasons[0][0], "io server disconnect");
});

test("serverSideEmit with an ack completes without a timeout", async (t) => {
  const { io } = await neighbours(t);
  const answers = await within("serverSideEmit", io.serverSideEmitWithAck("anybody there?", 1));
  assert.deepEqual(answers, [null]);
});

test("a client cannot join a room that is named like a member's id, of Node or Rookery", async (t) => {
  const { rookery, url } = await neighbours(t);
  const [victim, attacker] = [await connected(t, v4, url), await connected(t, v4, rookery.url)];
  const member = await connected(t, kind(3, "polling"), rookery.url);
  const ids = [victim.id, member.id, `/chat#${victim.id}`, "qwertyui0987654321-A"];
  const refused = async () => {
    for (const room of ids) {
      const one = await ask(attacker, "join", { room });
      assert.equal(one.error?.code, "room_invalid", `${room}: ${JSON.stringify(one)}`);
      const list = await ask(attacker, "join", { rooms: [room] });
      assert.equal(list.refused[0].code, "room_invalid", JSON.stringify(list));
      const order = { member: attacker.id };
      const { body } = await rookery.api("POST", `/api/rooms/${encodeURIComponent(room)}/join`, order);
      assert.equal(body.matched, 0, JSON.stringify(body));
    }
  };
  await refused();
  await join(attacker, "announcements-global");
  const [heard, overheard] = [collect(victim, "secret"), collect(attacker, "secret")];
  await rookery.publish({ room: victim.id, event: "secret", args: [1] });
  await until("the member of Node hears it", () => heard.length === 1);
  assert.deepEqual(overheard, []);
});

test("while Redis is down, a room that is named like a member's id cannot be joined either", async (t) => {
  const redis = await Redis.start(t);
  const rookery = await Instance.start(t, {}, { redis });
  const attacker = await connected(t, v4, rookery.url);
  await redis.kill();
  await rookery.redisIs(0);
  for (const room of ["Ns8Nm2Yq7xPJUz1HAAAB", "/chat#Ns8Nm2Yq7xPJUz1HAAAB", "qwertyui0987654321-A"]) {
    const answer = await ask(attacker, "join", { room });
    assert.equal(answer.error?.code, "room_invalid", `${room}: ${JSON.stringify(answer)}`);
  }
  await join(attacker, "announcements-global");
});
