// A member's public id is its `socket.id`, for the stock clients of every generation, as in Node.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { Instance, KINDS, Redis, ask, atEnd, collect, connected, join, kind, until } from "./harness.mjs";
import { nodeServer } from "./node_server.mjs";

const NAMESPACES = ["/", "/admin"];

/** A client in each namespace, over one session. */
async function clientsOf(t, which, url) {
  const root = await connected(t, which, url);
  const admin = root.io.socket("/admin");
  atEnd(t, () => admin.close());
  await until("it is in /admin", () => admin.connected);
  return { "/": root, "/admin": admin };
}

/** A Node server with both namespaces. */
async function node(t, redis) {
  const server = await nodeServer(t, redis);
  server.io.of("/admin");
  return server;
}

for (const which of KINDS) {
  test(`${which.name}: in Node, what is sent to socket.id reaches the client`, async (t) => {
    const { io, url } = await node(t, await Redis.start(t));
    for (const [namespace, socket] of Object.entries(await clientsOf(t, which, url))) {
      const heard = collect(socket, "news");
      io.of(namespace).to(socket.id).emit("news", namespace);
      await until("it hears it", () => heard.length > 0);
      assert.deepEqual([...io.of(namespace).sockets.keys()], [socket.id]);
    }
  });

  test(`${which.name}: socket.id addresses the client, from every server and instance`, async (t) => {
    const redis = await Redis.start(t);
    const config = { namespaces: NAMESPACES };
    const one = await Instance.start(t, config, { redis });
    const other = await Instance.start(t, config, { redis });
    const { io, publisher } = await node(t, redis);
    const emitter = new Emitter(publisher);
    const peer = await clientsOf(t, kind(4, "websocket"), other.url);
    for (const [namespace, socket] of Object.entries(await clientsOf(t, which, one.url))) {
      const { id } = socket;
      const heard = collect(socket, "news");
      const expected = [];
      const reaches = async (what, send) => {
        await send(what);
        expected.push([what]);
        await until(() => `${what} is heard: ${JSON.stringify(heard)}`, () => heard.length >= expected.length);
      };
      const api = (instance) => (what) => instance.publish({ namespace, room: id, event: "news", args: [what] });
      await reaches("API, here", api(one));
      await reaches("API, on another instance", api(other));
      await reaches("API, with other rooms", (what) => other.publish({ namespace, rooms: [id, "nobody"], event: "news", args: [what] }));
      await reaches("a client here", (what) => ask(socket, "publish", { room: id, event: "news", data: what }));
      await reaches("a client of another instance", (what) => ask(peer[namespace], "publish", { room: id, event: "news", data: what }));
      await reaches("a Node server", (what) => io.of(namespace).to(id).emit("news", what));
      await reaches("an emitter", (what) => emitter.of(namespace).to(id).emit("news", what));

      // Orders by the id, here and from elsewhere.
      for (const [instance, room] of [[one, "here"], [other, "elsewhere"]]) {
        const { body } = await instance.api("POST", `/api/rooms/${room}/join`, { namespace, member: id });
        assert.deepEqual(body, { matched: 1, unanswered: [] });
        await reaches(`the room ${room}`, (what) => other.publish({ namespace, room, event: "news", args: [what] }));
      }
      io.of(namespace).in(id).socketsJoin("by node");
      await until("it has joined", async () => (await one.api("GET", `/api/rooms/by%20node?namespace=${namespace}`)).body.members.length === 1);
      assert.equal((await io.of(namespace).in(id).fetchSockets()).length, 1);

      // Excepted by its id it hears nothing; the next publication shows that nothing is under way.
      await other.publish({ namespace, room: "here", except: [id], event: "news", args: ["excepted"] });
      await one.publish({ namespace, room: "here", except: [id], event: "news", args: ["excepted"] });
      await reaches("the end", api(other));
      assert.deepEqual(heard, expected);

      // The id that others see: socket.id, but where that is the secret of a session that polls.
      const { body } = await other.api("GET", `/api/rooms/here?namespace=${namespace}`);
      const [listed] = body.members.map((member) => member.id);
      assert.deepEqual(body.members.map((member) => member.pod), [one.pod]);
      const isSecret = which.version === 2 && String(which.transports) === "polling";
      assert.equal(listed === id, !isSecret, `${listed} and ${id}`);
      await reaches("the listed id", (what) => other.publish({ namespace, room: listed, event: "news", args: [what] }));

      // Nobody joins the room that the id is.
      const refused = await ask(peer[namespace], "join", { room: id });
      assert.equal(refused.error.code, "room_invalid");
    }
  });

  test(`${which.name}: an order to disconnect socket.id dismisses the client`, async (t) => {
    const instance = await Instance.start(t, { namespaces: NAMESPACES });
    const { "/": root, "/admin": admin } = await clientsOf(t, which, instance.url);
    const leave = { namespace: "/admin", member: admin.id, close: false };
    assert.equal((await instance.api("POST", "/api/disconnect", leave)).body.matched, 1);
    await until("it has left /admin", () => !admin.connected);
    // It comes back to the namespace, in Socket.IO 2 with the same id.
    admin.connect();
    await until("it is back", () => admin.connected);
    await join(admin, "room");
    const heard = collect(admin, "news");
    await instance.publish({ namespace: "/admin", room: admin.id, event: "news", args: [1] });
    await until("it hears it", () => heard.length === 1);
    assert.equal((await instance.api("POST", "/api/disconnect", { member: root.id })).body.matched, 1);
    await until("both are gone", () => !root.connected && !admin.connected);
  });
}
