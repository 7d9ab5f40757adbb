// Namespaces share a connection and nothing else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import {
  KINDS, Instance, Redis, ask, atEnd, collect, connected, connecting, join, kind, pair, until,
} from "./harness.mjs";
import { nodeServer } from "./node_server.mjs";

const NAMESPACES = { namespaces: ["/", "/chat"] };

const TENANTS = { namespaces: ["/", "/tenant-{id}"] };

for (const which of KINDS) {
  test(`${which.name}: rooms of two namespaces on one connection are separate, on both instances`, async (t) => {
    const { one, other } = await pair(t, NAMESPACES);
    const main = await connected(t, which, one.url);
    const chat = main.io.socket("/chat");
    chat.connect();
    atEnd(t, () => chat.close());
    await until("it is in the other namespace too", () => chat.connected);
    const far = await connected(t, which, `${other.url}/chat`);
    for (const socket of [main, chat, far]) await join(socket, "room");
    assert.equal(await one.metric("rookery_connections"), 1);
    const heard = [main, chat, far].map((socket) => collect(socket, "n"));
    await other.publish({ namespace: "/chat", room: "room", event: "n", args: ["chat"] });
    await until("the members of the namespace", () => heard[1].length === 1 && heard[2].length === 1);
    const said = { room: "room", event: "n", data: Buffer.from("from chat") };
    assert.equal((await ask(chat, "publish", said)).status, "SUCCESS");
    await other.publish({ room: "room", event: "n", args: ["main"] });
    await until("all of it", () => heard[0].length === 1 && heard[1].length === 2 && heard[2].length === 2);
    assert.deepEqual(heard, [
      [["main"]],
      [["chat"], [Buffer.from("from chat")]],
      [["chat"], [Buffer.from("from chat")]],
    ]);
    const { body } = await one.api("GET", "/api/rooms/room?namespace=/chat");
    assert.equal(body.members.length, 2);

    const dismissed = collect(chat, "disconnect");
    chat.disconnect();
    await until("it has left", async () => {
      return (await one.api("GET", "/api/rooms/room?namespace=/chat")).body.members.length === 1;
    });
    assert.equal(dismissed[0][0], "io client disconnect");
    await join(main, "still here");
  });
}

for (const which of KINDS) {
  test(`${which.name}: a namespace that is not configured is refused`, async (t) => {
    const instance = await Instance.start(t, NAMESPACES);
    const socket = connecting(t, which, `${instance.url}/nowhere`, { reconnection: false });
    const errors = collect(socket, which.version === 2 ? "error" : "connect_error");
    await until("it is refused", () => errors.length > 0);
    const [error] = errors[0];
    assert.match(which.version === 2 ? error : error.message, /[Ii]nvalid namespace/);
    assert.equal(socket.connected, false);
  });
}

test("the API rejects namespaces that are not configured", async (t) => {
  const instance = await Instance.start(t, NAMESPACES);
  await connected(t, kind(4, "websocket"), instance.url);
  const { status } = await instance.api("POST", "/api/publish", { namespace: "/x", room: "r", event: "e", args: [] });
  assert.equal(status, 400);
});

/** The channels of namespaces of tenants that somebody has subscribed. */
async function tenantChannels(t, redis) {
  const client = await createClient({ url: redis.url }).connect();
  atEnd(t, () => client.close());
  return () => client.sendCommand(["PUBSUB", "CHANNELS", "*/tenant-*"]);
}

for (const which of KINDS) {
  test(`${which.name}: a namespace of a pattern is one on both instances, and leaves nothing in Redis`, async (t) => {
    const { redis, one, other } = await pair(t, TENANTS);
    const channels = await tenantChannels(t, redis);
    assert.deepEqual(await channels(), []);
    const near = await connected(t, which, `${one.url}/tenant-7`);
    const far = await connected(t, which, `${other.url}/tenant-7`);
    const stranger = await connected(t, which, `${other.url}/tenant-8`);
    for (const socket of [near, far, stranger]) await join(socket, "room");
    const heard = [near, far, stranger].map((socket) => collect(socket, "n"));
    const bytes = Buffer.from([7, 0, 255]);
    assert.equal((await ask(near, "publish", { room: "room", event: "n", data: { bytes } })).status, "SUCCESS");
    await until("the other instance's member", () => heard[1].length === 1);
    await other.publish({ namespace: "/tenant-7", rooms: ["room", "none"], event: "n", args: ["api"] });
    await until("both members", () => heard[0].length === 2 && heard[1].length === 2);
    const all = [[{ bytes }], ["api"]];
    assert.deepEqual(heard, [all, all, []]);
    const { body } = await one.api("GET", "/api/rooms/room?namespace=/tenant-7");
    assert.deepEqual([body.members.length, body.unanswered], [2, []]);
    const listened = await channels();
    assert.ok(listened.includes("socket.io#/tenant-7#"), listened.join(" "));
    assert.ok(listened.includes("socket.io-request#/tenant-8#"), listened.join(" "));

    for (const socket of [near, far, stranger]) socket.close();
    const rooms = ["socket.io#/tenant-7#room#", "socket.io#/tenant-8#room#"];
    await until("nothing but rooms, which linger", async () => {
      return (await channels()).every((channel) => rooms.includes(channel));
    });
    for (const instance of [one, other]) assert.equal(await instance.metric("rookery_namespaces"), 0);
    if (which === kind(4, "websocket")) {
      await until("nothing at all", async () => (await channels()).length === 0);
    }
    // It is there again for whoever comes.
    const again = await connected(t, which, `${one.url}/tenant-7`);
    const back = collect(again, "n");
    await join(again, "room");
    await other.publish({ namespace: "/tenant-7", room: "room", event: "n", args: ["again"] });
    await until("it hears the other instance", () => back.length === 1);
  });
}

test("what Rookery and Node answer for names that match a pattern or do not is the same", async (t) => {
  const redis = await Redis.start(t);
  const rookery = await Instance.start(t, TENANTS, { redis });
  const { io, url } = await nodeServer(t, redis);
  io.of(/^\/tenant-[^-/]+$/);
  for (const which of KINDS) {
    const names = ["/tenant-7", "/tenant-", "/tenant-7/8", "/other", "/Tenant-7"];
    // Node does not answer clients of version 2 that ask for another alphabet's.
    if (which.version > 2) names.push("/tenant-ü");
    for (const name of names) {
      const answers = await Promise.all([rookery.url, url].map(async (server) => {
        const socket = connecting(t, which, `${server}${name}`, { reconnection: false });
        const connects = collect(socket, "connect");
        const errors = collect(socket, which.version === 2 ? "error" : "connect_error");
        await until(`${which.name}: an answer for ${name} of ${server}`, () => connects.length + errors.length > 0);
        socket.close();
        return errors.length > 0 ? (errors[0][0].message ?? errors[0][0]) : "connected";
      }));
      assert.equal(answers[0], answers[1], `${which.name} ${name}`);
      assert.equal(answers[0] === "connected", ["/tenant-7", "/tenant-ü"].includes(name), name);
    }
  }
});

test("a namespace of a pattern has members on Rookery and on Node", async (t) => {
  const redis = await Redis.start(t);
  const [one, empty] = await Promise.all([
    Instance.start(t, TENANTS, { redis }),
    Instance.start(t, TENANTS, { redis }),
  ]);
  const { io, url } = await nodeServer(t, redis);
  io.of(/^\/tenant-\d+$/).on("connection", (socket) => {
    socket.on("join", ({ room }, done) => {
      socket.join(room);
      done({ status: "SUCCESS" });
    });
  });
  const which = kind(4, "websocket");
  const here = await connected(t, which, `${one.url}/tenant-7`);
  const there = await connected(t, which, `${url}/tenant-7`);
  for (const socket of [here, there]) await join(socket, "room");
  const heard = [here, there].map((socket) => collect(socket, "n"));
  const both = (n) => until(`both have ${n}`, () => heard.every((events) => events.length === n));
  io.of("/tenant-7").to("room").emit("n", "node");
  await both(1);
  io.of("/tenant-7").emit("n", "node, to all");
  await both(2);
  // From an instance that has nobody there.
  await empty.publish({ namespace: "/tenant-7", room: "room", event: "n", args: ["api"] });
  await both(3);
  const { body } = await empty.api("GET", "/api/rooms/room?namespace=/tenant-7");
  assert.deepEqual(body.unanswered, []);
  assert.deepEqual(body.members.map((member) => member.id).sort(), [here.id, there.id].sort());
  // Node counts those that listen, and waits for each.
  const sockets = await io.of("/tenant-7").fetchSockets();
  assert.deepEqual(sockets.map((socket) => socket.id).sort(), [here.id, there.id].sort());
  const acked = { namespace: "/tenant-7", room: "room", event: "ask", args: [] };
  for (const socket of [here, there]) socket.on("ask", (done) => done(socket.id));
  const answer = await empty.publish({ ...acked, ack: true, timeout: "20s" });
  assert.deepEqual([...answer.acks].sort(), [here.id, there.id].sort(), JSON.stringify(answer));
  assert.equal(await empty.metric("rookery_namespaces"), 0);
});
