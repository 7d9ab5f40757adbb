// Namespaces share a connection and nothing else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { KINDS, Instance, ask, atEnd, collect, connected, connecting, join, kind, pair, until } from "./harness.mjs";

const NAMESPACES = { namespaces: ["/", "/chat"] };

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
