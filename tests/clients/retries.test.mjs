// The client options `retries` and `ackTimeout`: an event whose acknowledgement does not come is sent again.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { test } from "node:test";
import { Instance, KINDS, atEnd, collect, connected, join, kind, until, within } from "./harness.mjs";

const RETRIES = { retries: 50, ackTimeout: 200 };

const CLIENTS = KINDS.filter(({ version }) => version === 4);

/** Emits, and resolves with the error and the answer of the callback. */
function emit(socket, event, ...args) {
  return within(event, new Promise((resolve) => {
    socket.emit(event, ...args, (error, answer) => resolve({ error, answer }));
  }));
}

/** Stops the server while `send` is sent at least twice, and gives what `send` gives. */
async function sentTwice(instance, socket, send) {
  instance.child.kill("SIGSTOP");
  const stat = `/proc/${instance.child.pid}/stat`;
  await until("it is stopped", async () => (await readFile(stat, "utf8")).includes(") T "));
  const sent = send();
  await until("the client has sent it again", () => socket._queue[0]?.tryCount >= 2);
  instance.child.kill("SIGCONT");
  return sent;
}

// A client that polls sends nothing while its POST is not answered.
for (const which of CLIENTS.filter(({ transports }) => String(transports) !== "polling")) {
  test(`${which.name}: with retries, joins are made once, and publications may come twice`, async (t) => {
    const instance = await Instance.start(t);
    const socket = await connected(t, which, instance.url, RETRIES);
    const joined = await sentTwice(instance, socket, () => emit(socket, "join", { room: "room" }));
    assert.equal(joined.error, null);
    assert.equal(joined.answer.status, "SUCCESS");
    const { body } = await instance.api("GET", "/api/rooms/room");
    assert.equal(body.members.length, 1);
    // What is refused is acknowledged too, so it is not sent again.
    const refused = await emit(socket, "join", { room: "" });
    assert.deepEqual([refused.error, refused.answer.error.code], [null, "room_invalid"]);
    const member = await connected(t, kind(4, "websocket"), instance.url);
    await join(member, "room");
    const heard = collect(member, "n");
    const publish = (data) => emit(socket, "publish", { room: "room", event: "n", data });
    const [first, second] = await sentTwice(instance, socket, () => {
      return Promise.all([publish("first"), publish("second")]);
    });
    assert.deepEqual([first.answer.status, second.answer.status], ["SUCCESS", "SUCCESS"]);
    await until("the last one", () => heard.at(-1)?.[0] === "second");
    const texts = heard.map(([text]) => text);
    assert.ok(texts.filter((text) => text === "first").length >= 2, texts.join(" "));
    assert.deepEqual([...new Set(texts)], ["first", "second"], "in the order in which they were emitted");
    const left = await sentTwice(instance, socket, () => emit(socket, "leave", { room: "room" }));
    assert.equal(left.answer.status, "SUCCESS");
  });
}

for (const which of CLIENTS) {
  test(`${which.name}: with retries, the backend sees an event again after a reconnect and tells by its id`, async (t) => {
    const handled = [];
    const seen = new Map();
    let answers = false;
    const server = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk) => (text += chunk));
      request.on("end", () => {
        const { args: [{ id, n }] } = JSON.parse(text);
        // The first request's answer is lost with the client's connection.
        if (!seen.has(id)) {
          handled.push(n);
          seen.set(id, { ack: [{ sum: handled.reduce((a, b) => a + b) }] });
        }
        if (answers) response.end(JSON.stringify(seen.get(id)));
      });
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    atEnd(t, () => {
      server.closeAllConnections();
      server.close();
    });
    const url = `http://127.0.0.1:${server.address().port}/`;
    const instance = await Instance.start(t, { events: [], backend: { url, hooks: ["event"] } });
    const socket = await connected(t, which, instance.url, {
      retries: 50, ackTimeout: 30_000, reconnectionDelay: 10, randomizationFactor: 0,
    });
    const added = emit(socket, "add", { id: "a", n: 7 });
    const next = emit(socket, "add", { id: "b", n: 1 });
    await until("the backend has it", () => handled.length === 1);
    answers = true;
    socket.io.engine.close();
    assert.deepEqual(await added, { error: null, answer: { sum: 7 } });
    assert.deepEqual(await next, { error: null, answer: { sum: 8 } });
    assert.deepEqual(handled, [7, 1]);
  });
}
