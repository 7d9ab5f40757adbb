// Who is an admin, what one may do, and what others notice of it.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import test from "node:test";
import {
  ANOTHER,
  LOGIN,
  SECRET,
  WEBSOCKET,
  Shown,
  admin,
  configured,
  loggedIn,
  refusal,
  withAdmins,
} from "./admins.mjs";
import { Instance, ask, atEnd, collect, connected, connecting, pair, until } from "./harness.mjs";

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
