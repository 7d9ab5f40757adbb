// What admins are shown, in the protocol of `@socket.io/admin-ui`.
import assert from "node:assert/strict";
import test from "node:test";
import { instrument } from "@socket.io/admin-ui";
import {
  LOGIN,
  OLD,
  POLLING,
  UPGRADE,
  WEBSOCKET,
  Shown,
  admin,
  configured,
  loggedIn,
  shows,
  withAdmins,
} from "./admins.mjs";
import { Instance, Redis, ask, connected, connecting, join, pair, until, upgraded } from "./harness.mjs";
import { nodeServer, servers } from "./node_server.mjs";

const COMMANDS = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];

test("an admin is shown the servers, sockets and rooms of all instances, and what changes", async (t) => {
  const { one, other } = await pair(t, configured(await withAdmins(t)));
  const here = await connected(t, WEBSOCKET, one.url);
  const there = await connected(t, POLLING, other.url, { auth: { token: "t0psecret" }, query: { key: "t0psecret" } });
  const old = await connected(t, OLD, `${other.url}/chat`);
  await join(here, "r");
  await join(there, "r");
  const first = await loggedIn(t, one, LOGIN, UPGRADE);
  await upgraded(first.socket);
  const expected = [
    { client: here, rooms: ["r"] },
    { client: there, rooms: ["r"], transport: "polling" },
    { client: { id: old.id }, nsp: "/chat" },
    // A client of Socket.IO 2 is in the root too.
    { client: { id: old.id.split("#")[1] } },
    { client: first.socket, nsp: "/admin" },
  ];
  await shows(first.shown, expected);
  assert.deepEqual(first.shown.features, [...COMMANDS, "AGGREGATED_EVENTS", "ALL_EVENTS"]);
  // A later admin, of the other instance, is shown the same.
  const second = await loggedIn(t, other);
  expected.push({ client: second.socket, nsp: "/admin" });
  await shows(second.shown, expected);
  await shows(first.shown, expected);

  // What changes.
  await join(there, "s");
  await ask(here, "leave", { room: "r" });
  const late = await connected(t, WEBSOCKET, `${other.url}/chat`);
  old.close();
  expected[0].rooms = [];
  expected[1].rooms = ["r", "s"];
  expected.splice(2, 2, { client: late, nsp: "/chat" });
  for (const { shown } of [first, second]) await shows(shown, expected);
  const gone = first.shown.told("socket_disconnected");
  assert.deepEqual(gone.map(([, , reason]) => reason), ["client", "client"]);
  const polling = admin(t, one, LOGIN, POLLING);
  await until("one that polls", () => first.shown.of(polling.socket)?.transport === "polling");

  // The sockets of one client belong together.
  const clients = new Set([...first.shown.sockets.values()].map(({ clientId }) => clientId));
  assert.equal(clients.size, 6);
  // Servers and their figures.
  await until("both servers", () => first.shown.servers.size === 2 && second.shown.servers.size === 2);
  const total = (pick) => [...first.shown.servers.values()].map(pick).reduce((a, b) => a + b);
  await until("how many clients", () => total((server) => server.clientsCount) === 6);
  assert.equal(total((server) => server.pollingClientsCount), 2);
  const chat = ({ namespaces }) => namespaces.find(({ name }) => name === "/chat").socketsCount;
  assert.equal(total(chat), 1);
  for (const { pid } of first.shown.servers.values()) assert.ok([one, other].some(({ child }) => child.pid === pid));
  // What its charts draw.
  const drawn = () => first.shown.told("server_stats").flatMap(([{ aggregatedEvents }]) => aggregatedEvents);
  const sum = (kind) => drawn().filter(({ type }) => type === kind).reduce((all, { count }) => all + count, 0);
  for (const kind of ["rawConnection", "rawDisconnection", "packetsIn", "packetsOut"]) await until(kind, () => sum(kind) > 0);
  const before = ["bytesIn", "bytesOut"].map(sum);
  await ask(here, "publish", { room: "s", event: "large", data: "x".repeat(30_000) });
  await until("the bytes that came", () => sum("bytesIn") >= before[0] + 30_000);
  await until("and those that went", () => sum("bytesOut") >= before[1] + 30_000);
  // Nothing that a client keeps secret.
  for (const { shown } of [first, second]) assert.ok(!JSON.stringify(shown.events).includes("t0psecret"));
});

test("with more sockets than maxSockets an instance tells its figures alone, until there are fewer", async (t) => {
  const instance = await Instance.start(t, configured(await withAdmins(t, { maxSockets: 3 })));
  const clients = [await connected(t, WEBSOCKET, instance.url), await connected(t, WEBSOCKET, instance.url)];
  const { socket, shown } = await loggedIn(t, instance);
  const all = [...clients.map((client) => ({ client })), { client: socket, nsp: "/admin" }];
  await shows(shown, all);
  const extra = await connected(t, WEBSOCKET, instance.url);
  await shows(shown, []);
  const warnings = () => instance.lines.filter((line) => line.includes("too many sockets to show")).length;
  const counts = () => [...shown.servers.values()].map(({ clientsCount }) => clientsCount);
  await until("its figures", () => counts()[0] === 4);
  assert.equal(warnings(), 1);
  extra.close();
  await shows(shown, all);
  assert.equal(warnings(), 1);
});

test("while Redis is down an admin is shown its own instance, whatever redis.whenDown says", async (t) => {
  const redis = await Redis.start(t);
  const config = await withAdmins(t, {}, { redis: { url: redis.url, whenDown: "refuse" } });
  const instance = await Instance.start(t, configured(config), { redis });
  const { socket, shown } = await loggedIn(t, instance);
  await shows(shown, [{ client: socket, nsp: "/admin" }]);
  await redis.kill();
  await instance.redisIs(0);
  const client = await connected(t, WEBSOCKET, instance.url);
  await shows(shown, [{ client: socket, nsp: "/admin" }, { client }]);
  const reported = shown.told("server_stats").length;
  await until("figures", () => shown.told("server_stats").length > reported);
});

test("hundreds of sockets are told in parts, and hundreds of changes", async (t) => {
  const { one, other } = await pair(t, configured(await withAdmins(t)));
  const each = Array.from({ length: 260 }, (_, n) => n);
  const clients = await Promise.all([one, other].flatMap(({ url }) => each.map(() => connected(t, WEBSOCKET, url))));
  await Promise.all(clients.slice(200, 300).map((client) => join(client, "r")));
  const { socket, shown } = await loggedIn(t, one);
  const expected = clients.map((client, n) => ({ client, rooms: n >= 200 && n < 300 ? ["r"] : [] }));
  expected.push({ client: socket, nsp: "/admin" });
  await shows(shown, expected);
  assert.ok(shown.told("all_sockets")[0][0].length <= 200);
  const told = shown.told("socket_connected").length;
  assert.ok(told >= 320, `${told} sockets after the first 200`);
  for (const client of clients) client.close();
  await shows(shown, expected.slice(-1));
});

/** The names of the fields of a value, at any depth, without what lists and open objects hold. */
function form(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return typeof value;
  const open = ["headers", "query", "data"];
  const fields = Object.keys(value).sort();
  return Object.fromEntries(fields.map((key) => [key, open.includes(key) ? "open" : form(value[key])]));
}

test("events have the form of the package, whose servers on the same Redis are shown too", async (t) => {
  const redis = await Redis.start(t);
  const node = await nodeServer(t, redis);
  instrument(node.io, { auth: false, mode: "development", serverId: "node" });
  const instance = await Instance.start(t, configured(await withAdmins(t)), { redis });
  await until("they know each other", async () => (await servers(node.publisher)) === 2);
  const { shown } = await loggedIn(t, instance);
  const ofNode = connecting(t, WEBSOCKET, `${node.url}/admin`);
  const theirs = new Shown(ofNode);
  await until("both are connected", () => shown.hasAll && theirs.hasAll);
  // Clients of each come, join, leave and go.
  for (const url of [instance.url, node.url]) {
    const client = await connected(t, WEBSOCKET, url);
    await until("it is shown to both", () => shown.of(client) && theirs.of(client));
    await join(client, "r");
    await until("its room is", () => shown.of(client).rooms.includes("r") && theirs.of(client).rooms.includes("r"));
    const { id } = client;
    client.close();
    await until("it is gone", () => [shown, theirs].every((page) => !page.sockets.has(`/ ${id}`)));
  }
  await until("both servers are shown", () => shown.servers.size === 2 && theirs.servers.size === 2);
  const [ours, another] = [...shown.servers.values()].sort((a, b) => (a.serverId === "node") - (b.serverId === "node"));
  assert.deepEqual(form(ours), form(another));
  for (const name of ["socket_connected", "socket_disconnected", "room_joined", "room_left"]) {
    const told = shown.told(name).filter(([first]) => (first.nsp ?? first) === "/");
    const forms = new Set(told.map((args) => JSON.stringify(args.map(form))));
    assert.equal(forms.size, 1, `${name}: ${[...forms].join("\n")}`);
    assert.ok(told.length >= 2, name);
    for (const args of told) assert.match(args.at(-1), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  }
  assert.deepEqual(shown.features, theirs.features);
});
