// Rooms with presence, with stock clients: who is there, who comes and who goes.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { Instance, KINDS, Redis, ask, collect, connected, directory, join, kind, pair, until } from "./harness.mjs";
import { Proxy } from "./proxy.mjs";

const SECRET = "a secret for tests, long enough for HS256";

function tokenOf(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: user, name: user.toUpperCase(), exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** Rooms of documents tell who is there, by user; those of calls, by member. */
async function config(t, more = {}) {
  const secretFile = path.join(await directory(t), "secret");
  await writeFile(secretFile, SECRET);
  return {
    auth: { jwt: { algorithms: ["HS256"], secretFile } },
    rooms: [
      { match: "doc:{id}", presence: true, presenceInfo: "{'name': claims.name}" },
      { match: "call:{id}", presence: "member" },
      { match: "{any}" },
    ],
    ...more,
  };
}

/** A client of a user, with the presence events that it gets. */
async function client(t, url, user, which = kind(4, "websocket"), options = {}) {
  const token = tokenOf(user);
  const socket = await connected(t, which, url, { auth: { token }, ...options });
  return { socket, joins: collect(socket, "presence:join"), leaves: collect(socket, "presence:leave") };
}

const shown = (user) => ({ user, info: { name: user.toUpperCase() } });

/** What a client knows: its answer, changed by the events since. An event that does not fit is an error. */
function known(answer, { joins, leaves }) {
  const users = new Set(answer.presence.members.map(({ user }) => user));
  for (const [{ user }] of joins) {
    assert.ok(!users.has(user), `${user} joined twice`);
    users.add(user);
  }
  for (const [{ user }] of leaves) assert.ok(users.delete(user), `${user} left and was not there`);
  return [...users].sort();
}

test("a user is told of once, however many tabs it has, and never to itself", async (t) => {
  const { url } = await Instance.start(t, await config(t));
  const ada = await client(t, url, "ada");
  const first = await join(ada.socket, "doc:1");
  assert.deepEqual(first.presence, { members: [shown("ada")], count: 1 });
  const tab = await client(t, url, "ada");
  assert.deepEqual((await join(tab.socket, "doc:1")).presence.count, 1);
  const bob = await client(t, url, "bob");
  assert.deepEqual((await join(bob.socket, "doc:1")).presence, { members: [shown("ada"), shown("bob")], count: 2 });
  await until("both tabs are told", () => ada.joins.length === 1 && tab.joins.length === 1);
  assert.deepEqual(ada.joins, [[{ room: "doc:1", ...shown("bob") }]]);
  await ask(tab.socket, "leave", { room: "doc:1" });
  await ask(ada.socket, "leave", { room: "doc:1" });
  await until("the last tab's leave is told", () => bob.leaves.length === 1);
  assert.deepEqual(bob.leaves, [[{ room: "doc:1", ...shown("ada") }]]);
  assert.deepEqual([bob.joins, ada.leaves], [[], []]);
});

test("an application sees who is there by the HTTP API, and a room without presence says so", async (t) => {
  const instance = await Instance.start(t, await config(t));
  const ada = await client(t, instance.url, "ada");
  await join(ada.socket, "doc:1");
  const presence = (room) => instance.api("GET", `/api/rooms/${encodeURIComponent(room)}/presence`);
  const expected = { room: "doc:1", count: 1, members: [shown("ada")], scope: "cluster" };
  assert.deepEqual((await presence("doc:1")).body, expected);
  assert.deepEqual((await presence("doc:2")).body, { room: "doc:2", count: 0, members: [], scope: "cluster" });
  const { status, body } = await presence("lobby");
  assert.deepEqual([status, body.field], [404, "room"]);
  assert.equal((await join(ada.socket, "lobby")).presence, undefined);
});

test("members that are moved by the API are told of, and clients cannot forge that", async (t) => {
  const instance = await Instance.start(t, await config(t));
  const [ada, bob] = [await client(t, instance.url, "ada"), await client(t, instance.url, "bob")];
  await join(ada.socket, "doc:1");
  await instance.api("POST", `/api/rooms/${encodeURIComponent("doc:1")}/join`, { user: "bob" });
  await until("it is told", () => ada.joins.length === 1);
  await instance.api("POST", `/api/rooms/${encodeURIComponent("doc:1")}/leave`, { user: "bob" });
  await until("and told again", () => ada.leaves.length === 1);
  assert.deepEqual([bob.joins, bob.leaves], [[], []]);
  const forged = await ask(bob.socket, "publish", { room: "doc:1", event: "presence:join", data: { user: "eve" } });
  assert.equal(forged.error.code, "forbidden");
});

test("by member, each client counts", async (t) => {
  const { url } = await Instance.start(t, await config(t));
  const [ada, tab] = [await client(t, url, "ada"), await client(t, url, "ada")];
  await join(ada.socket, "call:1");
  const { presence } = await join(tab.socket, "call:1");
  const members = [ada, tab].map(({ socket }) => ({ id: socket.id, user: "ada" }));
  assert.deepEqual(new Set(presence.members.map(JSON.stringify)), new Set(members.map(JSON.stringify)));
  await until("the first is told", () => ada.joins.length === 1);
  assert.deepEqual(ada.joins, [[{ room: "call:1", id: tab.socket.id, user: "ada" }]]);
});

/** A client that follows who is in a room, from its answer on; what does not fit goes to `wrong`. */
function following(socket, wrong) {
  const one = { socket, known: undefined };
  const changed = (how, fits, { id }) => {
    if (!one.known || id === socket.id || !fits(id)) wrong.push(`${socket.id}: ${how} of ${id}`);
  };
  socket.on("presence:join", (member) => {
    changed("join", (id) => !one.known.has(id), member);
    one.known?.add(member.id);
  });
  socket.on("presence:leave", (member) => changed("leave", (id) => one.known.delete(id), member));
  // In the step of the answer: what follows it changes what it says.
  one.join = () =>
    new Promise((resolve) => {
      socket.emit("join", { room: "call:1" }, ({ presence }) => {
        one.known = new Set(presence.members.map(({ id }) => id));
        if (!one.known.has(socket.id)) wrong.push(`${socket.id} is not in its answer`);
        resolve();
      });
    });
  one.leave = () => ask(socket, "leave", { room: "call:1" }).then(() => (one.known = undefined));
  return one;
}

test("many that join and leave at once are each told of what changes after their answers, and of nothing else", async (t) => {
  const { one, other } = await pair(t, await config(t, { presence: { leaveDelay: "0s" } }));
  const wrong = [];
  const clients = [];
  for (let n = 0; n < 120; n++) {
    const { socket } = await client(t, (n % 2 ? one : other).url, `u${n}`);
    clients.push(following(socket, wrong));
  }
  const agree = (what) =>
    until(what, () => {
      const there = clients.filter(({ known }) => known);
      const ids = there.map(({ socket }) => socket.id).sort().join();
      return there.every(({ known }) => [...known].sort().join() === ids);
    });
  await Promise.all(clients.map((client) => client.join()));
  await agree("all know all");
  const toggle = (client) => (client.known ? client.leave() : client.join());
  for (let round = 0; round < 6; round++) {
    await Promise.all(clients.filter((_, n) => (n * 7 + round) % 3 > 0).map(toggle));
  }
  await agree("those that are left know each other");
  assert.deepEqual(wrong, []);
});

test("clients of every version and transport know the same, on two instances", async (t) => {
  const redis = await Redis.start(t);
  const settings = await config(t, { presence: { leaveDelay: "500ms" } });
  const instances = [await Instance.start(t, settings, { redis }), await Instance.start(t, settings, { redis })];
  const clients = await Promise.all(
    KINDS.filter(({ version }) => version > 2).map(async (which, n) => {
      const one = await client(t, instances[n % 2].url, `user-${n}`, which);
      return { ...one, answer: await join(one.socket, "doc:1") };
    }),
  );
  const all = clients.map((_, n) => `user-${n}`).sort();
  const know = (some, users) => some.every((one) => String(known(one.answer, one)) === String(users));
  await until("all know all", () => know(clients, all));
  // The connection of some ends, others leave: after a while nobody knows them any more.
  const [gone, left, ...rest] = clients;
  gone.socket.disconnect();
  await ask(left.socket, "leave", { room: "doc:1" });
  await until("both are gone", () => know(rest, all.slice(2)));
});

test("clients that move to another instance in a drain neither leave nor join", async (t) => {
  const redis = await Redis.start(t);
  const settings = await config(t, { drain: { lead: "100ms", window: "500ms" }, presence: { leaveDelay: "5s" } });
  const leaving = await Instance.start(t, settings, { redis });
  const staying = await Instance.start(t, settings, { redis });
  const proxy = await Proxy.start(t, leaving, staying);
  const watcher = await client(t, staying.url, "watcher");
  await join(watcher.socket, "doc:1");
  const moving = await Promise.all(
    ["ada", "bob", "eve"].map(async (user) => {
      const one = await client(t, proxy.url, user, kind(4, "websocket"), { reconnectionDelay: 100 });
      await join(one.socket, "doc:1");
      one.socket.on("connect", async () => {
        one.answer = await join(one.socket, "doc:1");
      });
      return one;
    }),
  );
  await until("they are known", () => watcher.joins.length === 3);
  leaving.child.kill("SIGTERM");
  assert.equal(await leaving.stopped(), 0);
  await until("they have moved", () => moving.every(({ answer }) => answer));
  // Who comes and goes after it is told after it.
  const last = await client(t, staying.url, "last");
  await join(last.socket, "doc:1");
  last.socket.disconnect();
  await until("the last one's leave is told", () => watcher.leaves.length > 0);
  assert.deepEqual(watcher.leaves.map(([{ user }]) => user), ["last"]);
  assert.equal(watcher.joins.length, 4);
});

test("the users of a killed instance leave, and nobody leaves while Redis restarts", async (t) => {
  const redis = await Redis.start(t);
  const settings = await config(t, { presence: { leaveDelay: "500ms" } });
  const [one, other] = [await Instance.start(t, settings, { redis }), await Instance.start(t, settings, { redis })];
  const watcher = await client(t, other.url, "watcher");
  await join(watcher.socket, "doc:1");
  for (const user of ["ada", "bob"]) {
    const { socket } = await client(t, one.url, user, kind(4, "websocket"), { reconnection: false });
    await join(socket, "doc:1");
  }
  await until("they are known", () => watcher.joins.length === 2);
  await redis.kill();
  await Promise.all([one, other].map((instance) => instance.redisIs(0)));
  await redis.run();
  await Promise.all([one, other].map((instance) => instance.redisIs(1)));
  const eve = await client(t, one.url, "eve", kind(4, "websocket"), { reconnection: false });
  assert.equal((await join(eve.socket, "doc:1")).presence.count, 4);
  await until("she is known", () => watcher.joins.length === 3);
  assert.deepEqual(watcher.leaves, []);
  one.child.kill("SIGKILL");
  await until("they leave", () => watcher.leaves.length === 3);
  await until("they are counted", async () => (await other.metric("rookery_presence_expired_total")) === 3);
  const { body } = await other.api("GET", `/api/rooms/${encodeURIComponent("doc:1")}/presence`);
  assert.deepEqual(body.members, [shown("watcher")]);
});
