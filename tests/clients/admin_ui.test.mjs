// The admin UI: the protocol of `@socket.io/admin-ui`, and its page in a real browser.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import test from "node:test";
import { instrument } from "@socket.io/admin-ui";
import { Browser } from "./browser.mjs";
import {
  Instance,
  Redis,
  ask,
  atEnd,
  collect,
  connected,
  connecting,
  directory,
  join,
  kind,
  pair,
  until,
  upgraded,
  within,
} from "./harness.mjs";
import { nodeServer, servers } from "./node_server.mjs";

const WEBSOCKET = kind(4, "websocket");
const POLLING = kind(4, "polling");
const UPGRADE = kind(4, "polling", "websocket");
const OLD = kind(2, "websocket");

/** bcrypt hashes of `secret` and `another`, of the lowest cost. */
const SECRET = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const ANOTHER = "$2y$04$ABCDEFGHIJKLMNOPQRSTUuWS5HO0u/gl2nYJ.VTwbzRGBDiMapOKW";
const LOGIN = { username: "ada", password: "secret" };

const COMMANDS = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];

/** A configuration with admins, whose password is `secret`; and the file of its hash. */
async function withAdmins(t, admin = {}, config = {}) {
  const file = path.join(await directory(t), "admin.hash");
  await writeFile(file, `${SECRET}\n`);
  return { file, namespaces: ["/", "/chat"], ...config, admin: { username: "ada", passwordHashFile: file, ...admin } };
}

function configured({ file, ...config }) {
  return config;
}

/** What a page shows, by the events of the protocol. */
class Shown {
  constructor(socket) {
    this.servers = new Map();
    this.sockets = new Map();
    this.events = [];
    const of = (nsp, id) => this.sockets.get(`${nsp} ${id}`);
    const add = (socket) => {
      if (!of(socket.nsp, socket.id)) this.sockets.set(`${socket.nsp} ${socket.id}`, socket);
    };
    socket.onAny((...args) => this.events.push(args));
    socket.on("session", (session) => (this.session = session));
    socket.on("config", ({ supportedFeatures }) => (this.features = supportedFeatures));
    socket.on("server_stats", (stats) => this.servers.set(stats.serverId, stats));
    socket.on("all_sockets", (all) => {
      this.hasAll = true;
      this.sockets.clear();
      all.forEach(add);
    });
    socket.on("socket_connected", add);
    socket.on("socket_updated", ({ id, nsp, ...rest }) => Object.assign(of(nsp, id) ?? {}, rest));
    socket.on("socket_disconnected", (nsp, id) => this.sockets.delete(`${nsp} ${id}`));
    socket.on("room_joined", (nsp, room, id) => of(nsp, id)?.rooms.push(room));
    socket.on("room_left", (nsp, room, id) => {
      const found = of(nsp, id);
      if (found) found.rooms = found.rooms.filter((other) => other !== room);
    });
  }

  /** The socket of a client. */
  of(client) {
    return [...this.sockets.values()].find(({ id }) => id === client.id);
  }

  /** Arguments of the events with this name. */
  told(name) {
    return this.events.filter(([event]) => event === name).map(([, ...args]) => args);
  }
}

/** An admin that is connecting, and what it is shown. */
function admin(t, instance, auth = LOGIN, which = WEBSOCKET) {
  const socket = connecting(t, which, `${instance.url}/admin`, { auth });
  return { socket, shown: new Shown(socket) };
}

/** One that is connected. */
async function loggedIn(t, instance, auth, which) {
  const made = admin(t, instance, auth, which);
  await until("the admin is connected", () => made.socket.connected && made.shown.features);
  return made;
}

/** Why a client may not connect. */
function refusal(socket) {
  return within("connect_error", new Promise((resolve) => socket.once("connect_error", resolve)));
}

/** Waits until an admin is shown exactly these sockets, each with its transport and rooms. */
function shows(shown, expected) {
  const wanted = expected.map(({ client, nsp = "/", transport = "websocket", rooms = [] }) =>
    [nsp, client.id, transport, ...[client.id, ...rooms].sort()].join(" "),
  );
  const seen = () =>
    [...shown.sockets.values()].map(({ nsp, id, transport, rooms }) => [nsp, id, transport, ...rooms.slice().sort()].join(" "));
  const text = (list) => list.slice().sort().join("\n");
  return until(
    () => `it is shown:\n${text(seen())}\nnot:\n${text(wanted)}`,
    () => text(seen()) === text(wanted),
  );
}

test("a name and its password let in, and the session holds on every instance", async (t) => {
  const config = await withAdmins(t);
  const { one, other } = await pair(t, configured(config));
  for (const auth of [
    null,
    {},
    { username: "ada", password: "wrong" },
    { username: "bob", password: "secret" },
    { username: "ada" },
    { sessionId: "a.9999999999.b" },
    { token: "secret" },
  ]) {
    const { message, data } = await refusal(admin(t, one, auth).socket);
    assert.equal(message, "invalid credentials", JSON.stringify(auth));
    assert.equal(data.code, "unauthenticated");
  }
  assert.equal(await one.metric("rookery_connects_total", { outcome: "refused" }), 7);
  const { shown } = await loggedIn(t, one);
  const sessionId = await until("a session", () => shown.session);
  const again = await loggedIn(t, other, { sessionId });
  await until("all sockets", () => again.shown.hasAll);
  assert.equal(again.shown.session, undefined, "the session goes on");

  await writeFile(config.file, `${ANOTHER}\n`);
  await until("admins are disconnected", () => again.socket.disconnected);
  const { message } = await refusal(admin(t, other, { sessionId }).socket);
  assert.equal(message, "invalid credentials");
  await loggedIn(t, other, { username: "ada", password: "another" });
  const log = [...one.lines, ...other.lines];
  for (const secret of [sessionId, SECRET, ANOTHER, LOGIN.password]) {
    assert.deepEqual(log.filter((line) => line.includes(secret)), []);
  }
  assert.deepEqual(
    log.filter((line) => line.includes("an admin connected")).map((line) => JSON.parse(line).by).sort(),
    ["password", "password", "session"],
  );
});

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
  // Nothing that a client keeps secret.
  for (const { shown } of [first, second]) assert.ok(!JSON.stringify(shown.events).includes("t0psecret"));
});

test("what an admin orders is done on all instances, but for its own namespace", async (t) => {
  const { one, other } = await pair(t, configured(await withAdmins(t)));
  const [here, there] = [await connected(t, WEBSOCKET, one.url), await connected(t, WEBSOCKET, other.url)];
  const heard = [here, there].map((client) => collect(client, "hello"));
  const { socket, shown } = await loggedIn(t, one);
  const errors = collect(socket, "rookery:error");

  socket.emit("emit", "/", null, "hello", 1, { a: [true] }, Buffer.from([1, 2]));
  await until("both hear it", () => heard.every((events) => events.length === 1));
  assert.deepEqual(heard[1][0].slice(0, 2), [1, { a: [true] }]);
  socket.emit("join", "/", "r", there.id);
  await until("it is in the room", () => shown.of(there)?.rooms.includes("r"));
  assert.deepEqual(shown.of(here).rooms, [here.id]);
  socket.emit("emit", "/", "r", "hello", 2);
  socket.emit("emit", "/", here.id, "hello", 3);
  await until("each hears its own", () => heard.every((events) => events.length === 2));
  assert.deepEqual(heard.map((events) => events[1]), [[3], [2]]);
  socket.emit("join", "/", "s");
  await until("all are in the room", () => [here, there].every((client) => shown.of(client).rooms.includes("s")));
  socket.emit("leave", "/", "s");
  await until("none is", () => [here, there].every((client) => !shown.of(client).rooms.includes("s")));
  assert.deepEqual(errors, []);

  // What is no order, each answered.
  const refused = async (code, ...event) => {
    const before = errors.length;
    socket.emit(...event);
    await until(`an answer to ${JSON.stringify(event)}`, () => errors.length > before);
    assert.equal(errors.at(-1)[0].error.code, code, JSON.stringify(event));
  };
  await refused("bad_request", "emit", "/nowhere", null, "hello");
  await refused("bad_request", "_disconnect", "/admin", true);
  await refused("bad_request", "emit", "/", {}, "hello");
  await refused("bad_request", "emit", "/", null, "connect");
  await refused("bad_request", "join", "/", null, here.id);
  await refused("unknown_operation", "publish", "/", "r", "hello");
  assert.equal(await one.metric("rookery_rejected_total", { reason: "bad_packet" }), 5);
  assert.equal(await one.metric("rookery_rejected_total", { reason: "unknown_event" }), 1);
  const { status, error } = await ask(socket, "join", "/nowhere", "r");
  assert.deepEqual([status, error.code], ["ERROR", "bad_request"]);
  assert.equal((await ask(socket, "leave", "/", "r", there.id)).status, "SUCCESS");

  const reasons = [here, there].map((client) => collect(client, "disconnect"));
  socket.emit("_disconnect", "/", false, there.id);
  await until("one is disconnected", () => reasons[1].length === 1);
  assert.equal(reasons[1][0][0], "io server disconnect");
  assert.ok(here.connected && socket.connected);
  socket.emit("_disconnect", "/", true);
  await until("all are disconnected", () => reasons[0].length === 1);
  await until("it is told why", () => shown.told("socket_disconnected").some(([, id, why]) => id && why === "dismissed"));
  const orders = one.lines.filter((line) => line.includes("an admin gave an order")).map(JSON.parse);
  assert.ok(orders.every(({ admin, namespace }) => admin === "ada" && namespace === "/"));
  assert.ok(orders.some(({ order, of, rooms, matched }) => order === "join" && of && rooms === "r" && matched === 1));
});

test("with readonly an admin may only look, and in production it sees figures alone", async (t) => {
  const config = await withAdmins(t, { readonly: true, mode: "production", namespace: "/ops" });
  const instance = await Instance.start(t, configured(config));
  const client = await connected(t, WEBSOCKET, instance.url);
  const socket = connecting(t, WEBSOCKET, `${instance.url}/ops`, { auth: LOGIN });
  const shown = new Shown(socket);
  await until("a report with the admin", () => [...shown.servers.values()].some(({ clientsCount }) => clientsCount === 2));
  assert.deepEqual(shown.features, ["AGGREGATED_EVENTS"]);
  const errors = collect(socket, "rookery:error");
  socket.emit("_disconnect", "/", true);
  await until("a refusal", () => errors.length === 1);
  assert.equal(errors[0][0].error.code, "forbidden");
  const reported = () => shown.told("server_stats").length;
  const before = reported();
  await until("two more reports", () => reported() >= before + 2);
  assert.ok(client.connected);
  const names = new Set(shown.events.map(([name]) => name));
  assert.deepEqual([...names].sort(), ["config", "rookery:error", "server_stats", "session"]);
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

test("neither tokens nor the backend, rules or the HTTP API concern the namespace of admins", async (t) => {
  const asked = [];
  const backend = createServer((request, response) => {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      asked.push(JSON.parse(body));
      response.setHeader("content-type", "application/json").end("{}");
    });
  });
  await new Promise((resolve) => backend.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => new Promise((resolve) => backend.close(resolve).closeAllConnections?.()));
  const url = `http://127.0.0.1:${backend.address().port}`;
  const config = await withAdmins(t, {}, {
    backend: { url, hooks: ["connect", "disconnect"], events: ["*"] },
    rooms: [{ match: "{room*}", join: "false", publish: "false" }],
  });
  const instance = await Instance.start(t, configured(config));
  const { socket } = await loggedIn(t, instance);
  assert.equal((await ask(socket, "join", "/", "r")).status, "SUCCESS");
  socket.close();
  const client = await connected(t, WEBSOCKET, instance.url);
  client.close();
  await until("the client's end is reported", () => asked.some(({ type }) => type === "disconnect"));
  assert.deepEqual(asked.map(({ type, namespace }) => [type, namespace]), [["connect", "/"], ["disconnect", "/"]]);
  const published = await instance.api("POST", "/api/publish", { namespace: "/admin", room: "r", event: "e", args: [] });
  assert.equal(published.status, 400);
  const without = await Instance.start(t);
  assert.match((await refusal(admin(t, without).socket)).message, /Invalid namespace/);
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

/** The page of the package, on a web server of its own. */
async function page(t) {
  const folder = path.join(path.dirname(createRequire(import.meta.url).resolve("@socket.io/admin-ui")), "../ui/dist");
  const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, "http://x").pathname;
    try {
      const file = path.join(folder, name === "/" ? "index.html" : name);
      response.setHeader("content-type", types[path.extname(file)] ?? "application/octet-stream");
      response.end(await readFile(file));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => new Promise((resolve) => server.close(resolve).closeAllConnections?.()));
  return `http://127.0.0.1:${server.address().port}`;
}

/** Types into the field with this label. */
async function fill(page, label, text) {
  await page.value(`(() => {
    const label = [...document.querySelectorAll("label")].find((at) => at.innerText === ${JSON.stringify(label)});
    const input = document.getElementById(label.htmlFor);
    input.value = "";
    input.focus();
    input.dispatchEvent(new Event("input"));
  })()`);
  await page.send("Input.insertText", { text });
}

function press(page, text) {
  return page.value(`[...document.querySelectorAll("button, a")].find((at) => at.innerText.trim().toUpperCase() === ${JSON.stringify(text)}).click()`);
}

test("the page logs in and shows the servers, clients and rooms of both instances", async (t) => {
  const origin = await page(t);
  const cors = { origins: [origin], credentials: true };
  const config = await withAdmins(t, {}, { socketio: { cors } });
  const { one, other } = await pair(t, configured(config));
  const [here, there] = [await connected(t, WEBSOCKET, one.url), await connected(t, POLLING, other.url)];
  await join(here, "room-of-one");
  await join(there, "room-of-other");
  const browser = await Browser.start(t);
  const ui = await browser.open(origin);
  await ui.look({ width: 1400 });
  const has = (text) => `document.body.innerText.includes(${JSON.stringify(text)})`;
  await ui.until("the form", "[...document.querySelectorAll('label')].some((at) => at.innerText === 'Server URL')");
  await fill(ui, "Server URL", one.url);
  await fill(ui, "Username", "ada");
  await fill(ui, "Password", "wrong");
  await press(ui, "CONNECT");
  await ui.until("it is refused", has("Invalid credentials"));
  await fill(ui, "Password", "secret");
  await press(ui, "CONNECT");
  await ui.until("it is connected", `!(${has("Invalid credentials")}) && localStorage.getItem("session_id")`);

  const rows = "[...document.querySelectorAll('table tbody tr')].map((row) => row.innerText)";
  const go = (view) => ui.value(`location.hash = "#/${view}/"`);
  await go("servers");
  for (const { pod } of [one, other]) await ui.until(`the server ${pod}`, `${rows}.some((row) => row.includes("#${pod}"))`);
  await go("clients");
  await ui.until("three clients", `${rows}.length === 3`);
  await go("sockets");
  for (const client of [here, there]) await ui.until("a socket", has(client.id));
  await go("rooms");
  for (const room of ["room-of-one", "room-of-other"]) await ui.until(room, has(room));
  await join(there, "another-room");
  await ui.until("a room that is new", has("another-room"));
  await ui.picture("admin-ui");

  // The session outlives the page.
  await ui.go(`${origin}/`);
  await ui.until("it is connected again", `${has("CONNECTED")} && !(${has("Invalid credentials")})`);
  await go("sockets");
  await ui.until("its sockets again", `${has(here.id)} || ${has(there.id)}`);
  // Disconnected by a click on the page.
  const gone = collect(there, "disconnect");
  await ui.until("both are listed", `${has(here.id)} && ${has(there.id)}`);
  await ui.value(`[...document.querySelectorAll("tr")].find((row) => row.innerText.includes("${there.id}")).querySelector("button").click()`);
  await until("it is disconnected", () => gone.length === 1);
  await ui.until("it is not listed", `!(${has(there.id)})`);
  assert.deepEqual(ui.complaints.filter(({ source }) => source === "exception"), []);
});
