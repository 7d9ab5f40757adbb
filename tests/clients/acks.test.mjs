// Every client request is answered, and with what.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, KINDS, ask, collect, connected, join, kind, until } from "./harness.mjs";

const v4 = kind(4, "websocket");

for (const which of KINDS) {
  test(`${which.name}: join, publish and leave are acknowledged`, async (t) => {
    const instance = await Instance.start(t);
    const socket = await connected(t, which, instance.url);
    const said = collect(socket, "news");
    assert.deepEqual(await ask(socket, "join", { room: "r" }), {
      status: "SUCCESS",
      event: "join",
      payload: { room: "r" },
    });
    const news = { room: "r", event: "news", data: { n: 1 } };
    assert.deepEqual(await ask(socket, "publish", news), {
      status: "SUCCESS",
      event: "publish",
      payload: news,
    });
    await until("it hears itself", () => said.length > 0);
    assert.deepEqual(said, [[{ n: 1 }]]);
    assert.deepEqual(await ask(socket, "leave", { room: "r" }), {
      status: "SUCCESS",
      event: "leave",
      payload: { room: "r" },
    });
    await instance.publish({ room: "r", event: "news", args: [{ n: 2 }] });
    await ask(socket, "leave", { room: "r" });
    assert.equal(said.length, 1);
  });
}

/** What a refusal says; the message is for people. */
function refused(answer, code) {
  assert.equal(answer.status, "ERROR");
  assert.equal(answer.error.code, code);
  assert.equal(typeof answer.error.message, "string");
  assert.ok(answer.error.message.length > 0);
}

test("a room that is neither text nor number is room_invalid, and a body that is not an object is bad_request", async (t) => {
  const instance = await Instance.start(t);
  const socket = await connected(t, v4, instance.url);
  for (const room of [undefined, null, "", true, {}, []]) {
    refused(await ask(socket, "join", { room }), "room_invalid");
  }
  refused(await ask(socket, "join", { room: "r".repeat(256) }), "room_invalid");
  for (const body of ["r", 7, null, [1]]) {
    refused(await ask(socket, "join", body), "bad_request");
  }
  assert.equal((await ask(socket, "join", { room: 7 })).status, "SUCCESS");
  const { body } = await instance.api("GET", "/api/rooms");
  assert.deepEqual(body.rooms, [{ room: "7", members: 1 }]);
});

test("an event that no rule handles is answered unknown_operation", async (t) => {
  const instance = await Instance.start(t);
  const socket = await connected(t, v4, instance.url);
  const answer = await ask(socket, "fly", { to: "the moon" });
  refused(answer, "unknown_operation");
  assert.equal(answer.event, "fly");
  assert.deepEqual(answer.payload, { to: "the moon" });
  const errors = collect(socket, "application_response");
  socket.emit("application", { event: "FLY", payload: { workspaceId: 1, appId: 2 } });
  await until("application_response", () => errors.length > 0);
  refused(errors[0][0], "unknown_operation");
});

test("without an ack callback, a refusal is the event rookery:error and success is silent", async (t) => {
  const instance = await Instance.start(t);
  for (const which of [v4, kind(3, "polling"), kind(2, "websocket")]) {
    const socket = await connected(t, which, instance.url);
    const errors = collect(socket, "rookery:error");
    socket.emit("join", { room: "fine" });
    socket.emit("join", { room: "" });
    await until("rookery:error", () => errors.length > 0);
    await ask(socket, "leave", { room: "fine" });
    assert.equal(errors.length, 1);
    refused(errors[0][0], "room_invalid");
    assert.equal(errors[0][0].event, "join");
  }
});

test("rules control joining and publishing independently", async (t) => {
  const instance = await Instance.start(t, {
    rooms: [
      { match: "open:{x}", publish: "false" },
      { match: "closed:{x}", join: "false" },
    ],
  });
  const socket = await connected(t, v4, instance.url);
  await join(socket, "open:1");
  refused(await ask(socket, "publish", { room: "open:1", event: "e", data: 1 }), "forbidden");
  refused(await ask(socket, "join", { room: "closed:1" }), "forbidden");
  const said = await ask(socket, "publish", { room: "closed:1", event: "e", data: 1 });
  assert.equal(said.status, "SUCCESS");
  refused(await ask(socket, "join", { room: "elsewhere" }), "forbidden");
  assert.equal(await instance.metric("rookery_rejected_total", { reason: "forbidden" }), 3);
});

test("a client at the room limit can join another room after leaving one", async (t) => {
  const instance = await Instance.start(t, { limits: { roomsPerClient: 2 } });
  const socket = await connected(t, v4, instance.url);
  await join(socket, "a");
  await join(socket, "b");
  await join(socket, "b");
  refused(await ask(socket, "join", { room: "c" }), "too_many_rooms");
  await ask(socket, "leave", { room: "a" });
  await join(socket, "c");
});

test("a client over the event rate is answered rate_limited and stays connected", async (t) => {
  const instance = await Instance.start(t, { limits: { eventsPerSecond: 5 } });
  const socket = await connected(t, v4, instance.url);
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask(socket, "leave", { room: "r" })));
  const over = answers.filter((a) => a.status === "ERROR");
  assert.ok(over.length >= 30, `${over.length} refused`);
  for (const answer of over) refused(answer, "rate_limited");
  assert.equal(await instance.metric("rookery_rejected_total", { reason: "events" }), over.length);
  await until("it may again", async () => (await ask(socket, "leave", { room: "r" })).status === "SUCCESS");
});
