// An instance is killed: its clients reconnect elsewhere, and requests that wait for it end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { KINDS, collect, connected, join, kind, pair, until, within } from "./harness.mjs";
import { Proxy } from "./proxy.mjs";

test("clients of a killed instance reconnect to the other one by themselves", async (t) => {
  const { one, other } = await pair(t);
  const proxy = await Proxy.start(t, one, other);
  const clients = [];
  for (const which of KINDS) {
    const socket = await connected(t, which, proxy.url, { reconnectionDelay: 100 });
    await join(socket, "room");
    clients.push({ which, socket, disconnects: collect(socket, "disconnect") });
  }
  const stays = await connected(t, kind(4, "websocket"), other.url);
  await join(stays, "room");
  const heard = collect(stays, "n");
  assert.equal((await other.api("GET", "/api/rooms/room")).body.members.length, KINDS.length + 1);

  one.child.kill("SIGKILL");
  await until("all are back", () => clients.every(({ socket, disconnects }) => disconnects.length > 0 && socket.connected));
  for (const { which, disconnects } of clients) {
    assert.ok(["transport close", "transport error"].includes(disconnects[0][0]), `${which.name}: ${disconnects}`);
  }
  // After a reconnect a client has no rooms.
  const { members } = await other.publish({ room: "room", event: "n", args: [1] });
  assert.equal(members, 1);
  await until("those who stayed hear it", () => heard.length === 1);
  for (const { socket } of clients) await join(socket, "room");
  assert.equal((await other.publish({ room: "room", event: "n", args: [2] })).members, KINDS.length + 1);
});

test("a query to a killed instance ends at its deadline with the other instances' answers", async (t) => {
  const { one, other } = await pair(t);
  const here = await connected(t, kind(4, "websocket"), other.url);
  await join(here, "room");
  const gone = await connected(t, kind(4, "websocket"), one.url, { reconnection: false });
  await join(gone, "room");
  assert.equal((await other.api("GET", "/api/rooms/room")).body.members.length, 2);
  one.child.kill("SIGKILL");
  const { status, body } = await within("an answer", other.api("GET", "/api/rooms/room"));
  assert.equal(status, 200);
  assert.deepEqual(body.members.map(({ id }) => id), [here.id]);
  assert.deepEqual(body.unanswered, [one.pod]);
  await until("it is known to be gone", async () => {
    return (await other.api("GET", "/api/rooms/room")).body.unanswered.length === 0;
  });
});
