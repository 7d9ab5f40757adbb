// `socketio.perMessageDeflate` with the stock clients, which offer compressed messages by default, and with Node's server
// beside it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { Instance, KINDS, Redis, ask, collect, connected, join, kind, pair, until } from "./harness.mjs";
import { nodeServer, shardedServer } from "./node_server.mjs";

const parser = createRequire(import.meta.url)("socket.io-msgpack-parser");

const DEFLATE = { socketio: { perMessageDeflate: {} } };

/** About 20 KB that become a twentieth of it. */
const TEXT = JSON.stringify(Array.from({ length: 400 }, (_, n) => ({ n, user: "ada", text: "hello, room" })));

/** As many bytes. */
const BYTES = Buffer.from(TEXT);

/** The kinds that are on a WebSocket once they are connected. */
const ON_WEBSOCKET = KINDS.filter(({ transports }) => transports.includes("websocket"));

/** The client's `ws`. */
const websocket = (socket) => socket.io.engine.transport.ws;

/** Whether compressed messages are agreed on. */
const isAgreed = (socket) => websocket(socket).extensions === "permessage-deflate";

/** The bytes that a client reads and writes on its WebSocket until `action` is done: `[read, written]`. */
async function transferred(socket, action) {
  const { bytesRead, bytesWritten } = websocket(socket)._socket;
  await action();
  const now = websocket(socket)._socket;
  return [now.bytesRead - bytesRead, now.bytesWritten - bytesWritten];
}

/** Asserts that so many messages of 20 KB were compressed on the wire, or not. */
function assertCompressed(bytes, messages, compressed) {
  const full = messages * TEXT.length;
  if (compressed) assert.ok(bytes < full / 4, `${bytes} of ${full}`);
  else assert.ok(bytes >= full, `${bytes} of ${full}`);
}

for (const which of ON_WEBSOCKET) {
  test(`${which.name}: text and binary, compressed both ways, on both instances`, async (t) => {
    const { one, other } = await pair(t, DEFLATE);
    // One that compresses everything, also the packets of its upgrade, and one that takes none.
    const [near, far] = await Promise.all([
      connected(t, which, one.url, { perMessageDeflate: { threshold: 0 } }),
      connected(t, which, other.url, { perMessageDeflate: false }),
    ]);
    assert.deepEqual([near, far].map(isAgreed), [true, false]);
    for (const socket of [near, far]) await join(socket, "room");
    const heard = [near, far].map((socket) => collect(socket, "n"));
    const [read, written] = await transferred(near, async () => {
      const answer = await ask(near, "publish", { room: "room", event: "n", data: { text: TEXT, bytes: BYTES } });
      assert.equal(answer.status, "SUCCESS");
      await until("both have it", () => heard.every((events) => events.length === 1));
    });
    // The publication twice, the second time in its acknowledgement.
    assertCompressed(read, 4, true);
    assertCompressed(written, 2, true);
    const [plain] = await transferred(far, async () => {
      await other.publish({ room: "room", event: "n", args: [TEXT, { $binary: BYTES.toString("base64") }] });
      await until("both have the API's", () => heard.every((events) => events.length === 2));
    });
    assertCompressed(plain, 2, false);
    const [back] = await transferred(near, async () => {
      await ask(far, "publish", { room: "room", event: "n", data: TEXT });
      await until("both have the other's", () => heard.every((events) => events.length === 3));
    });
    assertCompressed(back, 1, true);
    for (const events of heard) assert.deepEqual(events, [[{ text: TEXT, bytes: BYTES }], [TEXT, BYTES], [TEXT]]);
    for (const instance of [one, other]) {
      assert.equal(await instance.metric("rookery_rejected_total"), 0);
      assert.equal(await instance.metric("rookery_disconnects_total"), 0);
    }
  });
}

/** What clients of a server see of `publish(data)`, which publishes the event `n` in the room `room`. */
async function seen(t, url, publish) {
  const which = kind(4, "websocket");
  const found = [];
  for (const perMessageDeflate of [undefined, false, { threshold: 0 }, { clientMaxWindowBits: 10 }, { serverNoContextTakeover: true }]) {
    const options = perMessageDeflate === undefined ? {} : { perMessageDeflate };
    const socket = await connected(t, which, url, options);
    await join(socket, "room");
    const heard = collect(socket, "n");
    const [read] = await transferred(socket, async () => {
      for (const data of [TEXT, { bytes: BYTES }, "short"]) await publish(data);
      await until("it hears them", () => heard.length === 3);
    });
    found.push({ perMessageDeflate, agreed: isAgreed(socket), heard, compressed: read < BYTES.length });
  }
  return found;
}

test("a client sees the same of Rookery as of Node's server with perMessageDeflate", async (t) => {
  const redis = await Redis.start(t);
  const { io, url } = await nodeServer(t, redis, {}, { perMessageDeflate: true });
  const instance = await Instance.start(t, DEFLATE);
  const [node, rookery] = [
    await seen(t, url, (data) => io.to("room").emit("n", data)),
    await seen(t, instance.url, (data) => {
      const arg = data.bytes ? { bytes: { $binary: data.bytes.toString("base64") } } : data;
      return instance.publish({ room: "room", event: "n", args: [arg] });
    }),
  ];
  assert.deepEqual(rookery, node);
  assert.deepEqual(rookery.map(({ agreed, compressed }) => [agreed, compressed]), [
    [true, true],
    [false, false],
    [true, true],
    [true, true],
    [true, true],
  ]);
});

test("without the key, as in Node without perMessageDeflate, nothing is agreed on", async (t) => {
  const redis = await Redis.start(t);
  const { url } = await nodeServer(t, redis);
  const instance = await Instance.start(t);
  for (const server of [url, instance.url]) {
    const socket = await connected(t, kind(4, "websocket"), server, { perMessageDeflate: { threshold: 0 } });
    assert.equal(isAgreed(socket), false);
    await join(socket, "room");
  }
});

for (const [wire, server] of [["classic", nodeServer], ["sharded", shardedServer]]) {
  test(`compress(false) of a Node server is heeded on the ${wire} wire`, async (t) => {
    const redis = await Redis.start(t);
    const config = { ...DEFLATE, redis: { url: redis.url, wire } };
    const [instance, { io }] = [await Instance.start(t, config), await server(t, redis)];
    await instance.redisIs(1);
    const socket = await connected(t, kind(4, "websocket"), instance.url);
    await join(socket, "room");
    const [heard, first] = [collect(socket, "n"), collect(socket, "first")];
    await until("the Node server is heard", () => first.length > 0 || void io.to("room").emit("first"));
    for (const [emitter, compressed] of [
      [io.to("room"), true],
      [io.compress(false).to("room"), false],
      [io.compress(true).to("room"), true],
      [io.to("room"), true],
    ]) {
      const before = heard.length;
      const [read] = await transferred(socket, async () => {
        emitter.emit("n", TEXT);
        await until("it hears it", () => heard.length > before);
      });
      assertCompressed(read, 1, compressed);
    }
  });
}

test("with MessagePack, and members that take no compressed messages", async (t) => {
  const { one, other } = await pair(t, { socketio: { parser: "msgpack", perMessageDeflate: {} } });
  for (const which of ON_WEBSOCKET.filter(({ version }) => version > 2)) {
    const [near, far] = await Promise.all([
      connected(t, which, one.url, { parser, perMessageDeflate: { threshold: 0 } }),
      connected(t, which, other.url, { parser, perMessageDeflate: false }),
    ]);
    for (const socket of [near, far]) await join(socket, "room");
    const heard = [near, far].map((socket) => collect(socket, "n"));
    const [read, written] = await transferred(near, async () => {
      await ask(near, "publish", { room: "room", event: "n", data: { text: TEXT, bytes: BYTES } });
      await until("both have it", () => heard.every((events) => events.length === 1));
    });
    assertCompressed(read, 2, true);
    assertCompressed(written, 2, true);
    for (const events of heard) assert.deepEqual(events, [[{ text: TEXT, bytes: BYTES }]]);
    near.close();
    far.close();
  }
});

test("an acknowledgement, and an event to one member, are compressed too", async (t) => {
  const instance = await Instance.start(t, DEFLATE);
  const socket = await connected(t, kind(4, "websocket"), instance.url);
  const heard = collect(socket, "n");
  const [read] = await transferred(socket, async () => {
    await instance.publish({ room: socket.id, event: "n", args: [TEXT] });
    await until("it hears it", () => heard.length === 1);
  });
  assertCompressed(read, 1, true);
  socket.on("ask", (text, done) => done({ text }));
  const [, written] = await transferred(socket, async () => {
    const { acks } = await instance.publish({ room: socket.id, event: "ask", args: [TEXT], ack: true, timeout: "20s" });
    assert.deepEqual(acks, [{ text: TEXT }]);
  });
  assertCompressed(written, 1, true);
});
