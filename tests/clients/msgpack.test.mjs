// `socketio.parser: msgpack` with the stock clients and `socket.io-msgpack-parser`.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import {
  Instance, KINDS, Redis, ask, atEnd, collect, connected, connecting, join, kind, pair, until,
} from "./harness.mjs";
import { nodeServer } from "./node_server.mjs";

const parser = createRequire(import.meta.url)("socket.io-msgpack-parser");

const MSGPACK = { socketio: { parser: "msgpack" }, namespaces: ["/", "/chat", "/tenant-{id}"] };

/** A value with everything that both forms hold. */
const DEEP = {
  list: [null, true, -7, 2 ** 40, 1.5, "ü 🐦"],
  bytes: Buffer.from([0, 255, 128]),
  deep: { deeper: [{ bytes: Buffer.from("x") }] },
};

const CLIENTS = KINDS.filter(({ version }) => version > 2);

for (const which of CLIENTS) {
  test(`${which.name}: events, acks and binary values in MessagePack, on both instances`, async (t) => {
    const { one, other } = await pair(t, MSGPACK);
    const [near, far] = await Promise.all([
      connected(t, which, one.url, { parser }),
      connected(t, which, other.url, { parser }),
    ]);
    for (const socket of [near, far]) await join(socket, "room");
    const heard = [near, far].map((socket) => collect(socket, "n"));
    const answer = await ask(near, "publish", { room: "room", event: "n", data: DEEP });
    assert.equal(answer.status, "SUCCESS");
    await until("both have it", () => heard.every((events) => events.length === 1));
    await other.publish({ room: "room", event: "n", args: ["api", { $binary: "AQI=" }] });
    await until("both have the API's", () => heard.every((events) => events.length === 2));
    for (const events of heard) assert.deepEqual(events, [[DEEP], ["api", Buffer.from([1, 2])]]);
    // The recipients acknowledge.
    for (const socket of [near, far]) socket.on("ask", (x, done) => done({ x, bytes: Buffer.from("a") }));
    const acked = await one.publish({ room: "room", event: "ask", args: [1], ack: true, timeout: "20s" });
    assert.deepEqual(acked.acks, [{ x: 1, bytes: { $binary: "YQ==" } }, { x: 1, bytes: { $binary: "YQ==" } }]);
    // A refusal by its acknowledgement, and without one.
    assert.equal((await ask(near, "join", { room: "" })).error.code, "room_invalid");
    const errors = collect(near, "rookery:error");
    near.emit("join", { room: "" });
    await until("the error", () => errors.length === 1);
    assert.equal(await one.metric("rookery_rejected_total", { reason: "bad_packet" }), 0);
  });
}

for (const which of CLIENTS) {
  test(`${which.name}: namespaces, refusals and disconnects in MessagePack`, async (t) => {
    const instance = await Instance.start(t, MSGPACK);
    const main = await connected(t, which, instance.url, { parser });
    const tenant = main.io.socket("/tenant-7");
    tenant.connect();
    atEnd(t, () => tenant.close());
    await until("it is in the other namespace too", () => tenant.connected);
    await join(tenant, "room");
    const gone = collect(tenant, "disconnect");
    const order = { namespace: "/tenant-7", room: "room", close: false };
    assert.equal((await instance.api("POST", "/api/disconnect", order)).body.matched, 1);
    await until("it is dismissed", () => gone.length === 1);
    assert.equal(gone[0][0], "io server disconnect");
    await join(main, "still here");
    const refused = connecting(t, which, `${instance.url}/nowhere`, { parser, reconnection: false });
    const errors = collect(refused, "connect_error");
    await until("it is refused", () => errors.length === 1);
    assert.equal(errors[0][0].message, "Invalid namespace");
    main.disconnect();
    await until("it has left", async () => (await instance.metric("rookery_connections")) === 0);
  });
}

test("a client that writes text, or bytes that are no packet, is disconnected and harms nobody else", async (t) => {
  const instance = await Instance.start(t, MSGPACK);
  const well = await connected(t, kind(4, "websocket"), instance.url, { parser });
  const bad = () => instance.metric("rookery_rejected_total", { reason: "bad_packet" });
  for (const which of CLIENTS) {
    const before = await bad();
    const text = connecting(t, which, instance.url, { reconnection: false });
    const opened = collect(text.io, "close");
    await until("it is closed", () => opened.length > 0);
    assert.equal(text.connected, false);
    await until("it is counted", async () => (await bad()) === before + 1);
    const garbage = await connected(t, which, instance.url, { parser, reconnection: false });
    garbage.io.engine.write(Buffer.from([0x93, 1]));
    await until("it is disconnected", () => !garbage.connected);
    await until("it is counted too", async () => (await bad()) === before + 2);
    text.close();
  }
  await join(well, "room");
});

test("limits hold in MessagePack too", async (t) => {
  const instance = await Instance.start(t, { ...MSGPACK, socketio: { parser: "msgpack", maxPayload: 10_000 } });
  for (const which of [kind(4, "websocket"), kind(4, "polling")]) {
    const socket = await connected(t, which, instance.url, { parser, reconnection: false });
    const deep = (levels) => Array.from({ length: levels }).reduce((inner) => [inner], 1);
    await join(socket, "room");
    const publish = (data) => ask(socket, "publish", { room: "room", event: "n", data });
    // The event's argument holds it one level down.
    assert.equal((await publish(deep(62))).status, "SUCCESS");
    assert.equal((await publish(deep(70))).error.code, "bad_request");
    assert.equal((await publish(Array(10).fill(Buffer.from("x")))).status, "SUCCESS");
    socket.emit("publish", { room: "room", event: "n", data: Array(11).fill(Buffer.from("x")) });
    await until("more than ten binary values end the session", () => !socket.connected);
    const large = await connected(t, which, instance.url, { parser, reconnection: false });
    large.emit("publish", { room: "room", event: "n", data: "x".repeat(10_000) });
    await until("a large message ends the session", () => !large.connected);
  }
});

test("members with MessagePack, members with text and members of Node share a room", async (t) => {
  const redis = await Redis.start(t);
  const [packed, plain] = await Promise.all([
    Instance.start(t, MSGPACK, { redis }),
    Instance.start(t, {}, { redis }),
  ]);
  const { url } = await nodeServer(t, redis);
  const which = kind(4, "websocket");
  const sockets = [
    await connected(t, which, packed.url, { parser }),
    await connected(t, which, plain.url),
    await connected(t, which, url),
  ];
  for (const socket of sockets) await join(socket, "room");
  const heard = sockets.map((socket) => collect(socket, "n"));
  for (const [n, socket] of sockets.slice(0, 2).entries()) {
    await ask(socket, "publish", { room: "room", event: "n", data: { n, ...DEEP } });
    await until("all have it", () => heard.every((events) => events.length === n + 1));
  }
  for (const events of heard) assert.deepEqual(events, [[{ n: 0, ...DEEP }], [{ n: 1, ...DEEP }]]);
});
