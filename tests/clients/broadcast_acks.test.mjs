// Events that ask all their recipients to acknowledge them, from Node servers and from the HTTP API.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, KINDS, Redis, atEnd, collect, connected, join, kind, until, within } from "./harness.mjs";
import { nodeServer, servers } from "./node_server.mjs";

const v4 = kind(4, "websocket");

/** Two instances of Rookery and a Node server on one Redis. */
async function neighbours(t, options) {
  const redis = await Redis.start(t);
  const [one, other] = [await Instance.start(t, {}, { redis }), await Instance.start(t, {}, { redis })];
  const { io, url, publisher } = await nodeServer(t, redis, options);
  await until("all three are there", async () => (await servers(publisher)) === 3);
  return { one, other, io, url };
}

/** A client in a room that acknowledges each `question` by `answer`. */
async function answering(t, which, url, room, answer) {
  const socket = await connected(t, which, url);
  socket.on("question", (...args) => args.at(-1)(answer(...args)));
  await join(socket, room);
  return socket;
}

for (const options of [{}, { publishOnSpecificResponseChannel: true }]) {
  test(`a Node server gets the acknowledgement of every client of Rookery, ${JSON.stringify(options)}`, async (t) => {
    const { one, other, io, url } = await neighbours(t, options);
    const expected = [];
    for (const [index, which] of KINDS.entries()) {
      const instance = index % 2 === 0 ? one : other;
      await answering(t, which, instance.url, "room", (text) => `${text} ${which.name}`);
      expected.push(`who? ${which.name}`);
    }
    await answering(t, v4, url, "room", (text) => `${text} Node`);
    await answering(t, v4, one.url, "another room", () => assert.fail("it is not asked"));
    const answers = await within("emitWithAck", io.to("room").timeout(20_000).emitWithAck("question", "who?"));
    assert.deepEqual(answers.sort(), [...expected, "who? Node"].sort());
    assert.deepEqual(await within("emitWithAck", io.to("nobody").timeout(20_000).emitWithAck("question")), []);
  });
}

test("binary goes both ways, with and without arguments", async (t) => {
  const { one, io } = await neighbours(t);
  await answering(t, v4, one.url, "room", (bytes) => ({ same: bytes, list: [Buffer.from([9])] }));
  const [answer] = await within("emitWithAck", io.to("room").timeout(20_000).emitWithAck("question", Buffer.from([1, 2])));
  assert.deepEqual([...answer.same], [1, 2]);
  assert.deepEqual([...answer.list[0]], [9]);

  const silent = await connected(t, v4, one.url);
  silent.on("question", (done) => done());
  await join(silent, "empty answers");
  assert.equal((await within("emitWithAck", io.to("empty answers").timeout(20_000).emitWithAck("question"))).length, 1);
});

test("a client that stays silent times out, and the others' answers are kept", async (t) => {
  const { one, io } = await neighbours(t);
  await answering(t, v4, one.url, "room", () => "here");
  const silent = await connected(t, v4, one.url);
  const asked = collect(silent, "question");
  await join(silent, "room");
  const failed = await within("emitWithAck", io.to("room").timeout(1_000).emitWithAck("question").catch((error) => error));
  assert.match(failed.message, /timed out/);
  assert.deepEqual(failed.responses, ["here"]);
  assert.equal(asked.length, 1);

  const publication = { room: "room", event: "question", ack: true, timeout: "1s" };
  const { status, body } = await one.api("POST", "/api/publish", publication);
  assert.equal(status, 200);
  assert.deepEqual([body.acks, body.recipients, body.timedOut], [["here"], 2, true]);
});

test("the HTTP API answers with the acknowledgements of clients on every server", async (t) => {
  const { one, other, url } = await neighbours(t);
  await answering(t, v4, one.url, "room", (n) => ({ here: n }));
  await answering(t, kind(2, "polling"), other.url, "room", (n) => ({ there: n }));
  await answering(t, v4, url, "room", (n) => ({ node: n }));
  await answering(t, v4, one.url, "left out", () => assert.fail("it is not asked"));
  const publication = { rooms: ["room", "left out"], except: "left out", event: "question", args: [7], ack: true, timeout: 20_000 };
  const { status, body } = await one.api("POST", "/api/publish", publication);
  assert.equal(status, 200, JSON.stringify(body));
  const key = (answer) => Object.keys(answer)[0];
  assert.deepEqual(body.acks.sort((a, b) => key(a).localeCompare(key(b))), [{ here: 7 }, { node: 7 }, { there: 7 }]);
  assert.deepEqual([body.scope, body.recipients, body.timedOut], ["cluster", 3, false]);
});

test("without Redis the clients of the instance acknowledge; nobody can acknowledge twice or for others", async (t) => {
  const instance = await Instance.start(t);
  const socket = await connected(t, v4, instance.url);
  await join(socket, "room");
  // Acknowledgements that nobody asked for, before and beside the one that was.
  socket.io.engine.write('30["forged"]');
  socket.on("question", (done) => {
    socket.io.engine.write('31["forged"]');
    done("once");
    socket.io.engine.write('39007199254740991["forged"]');
  });
  const { body } = await instance.api("POST", "/api/publish", { room: "room", event: "question", ack: true });
  assert.deepEqual([body.acks, body.recipients, body.timedOut, body.scope], [["once"], 1, false, "local"]);
  const plain = await instance.api("POST", "/api/publish", { room: "room", event: "news" });
  assert.equal(plain.body.acks, undefined);
});

test("what cannot be combined with acknowledgements is refused with the field", async (t) => {
  const instance = await Instance.start(t);
  const base = { room: "room", event: "question" };
  for (const [more, field] of [
    [{ timeout: 5 }, "timeout"],
    [{ ack: true, timeout: 0 }, "timeout"],
    [{ ack: true, timeout: 60_001 }, "timeout"],
    [{ ack: true, timeout: "soon" }, "timeout"],
    [{ ack: true, id: "one" }, "id"],
    [{ ack: "yes" }, "ack"],
  ]) {
    const { status, body } = await instance.api("POST", "/api/publish", { ...base, ...more });
    assert.deepEqual([status, body.field], [400, field], JSON.stringify({ more, body }));
  }
  const { body } = await instance.api("POST", "/api/publish/batch", [{ ...base, ack: true }]);
  assert.equal(body.results[0].field, "ack", JSON.stringify(body));
});
