// A drain: clients move to another instance by themselves, evenly over the window.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, KINDS, Redis, collect, connected, join, kind, until } from "./harness.mjs";
import { Gate, Proxy, isPoll } from "./proxy.mjs";

const LEAD = 500;
const WINDOW = 4_000;
const DRAIN = { drain: { lead: `${LEAD}ms`, window: `${WINDOW}ms` } };

/** Waits until an instance has ended well: by itself, with nothing that it had to cut off. */
async function endsWell(instance) {
  assert.equal(await instance.stopped(), 0);
  assert.deepEqual(instance.lines.filter((line) => line.includes('"WARN"')), []);
}

/** Clients of all versions, every second one polling. */
const CROWD = Array.from({ length: 200 }, (_, n) => {
  return kind([4, 3, 2][Math.floor(n / 2) % 3], n % 2 === 0 ? "polling" : "websocket");
});

test("200 clients move to the other instance over the window, and clients disconnected by the API do not reconnect", async (t) => {
  const redis = await Redis.start(t);
  const [leaving, staying] = [
    await Instance.start(t, DRAIN, { redis }),
    await Instance.start(t, DRAIN, { redis }),
  ];
  const proxy = await Proxy.start(t, leaving, staying);
  const clients = await Promise.all(
    CROWD.map(async (which) => {
      const socket = await connected(t, which, proxy.url, { reconnectionDelay: 100 });
      const client = { which, socket, connects: 0, disconnects: [] };
      socket.on("connect", () => client.connects++);
      socket.on("disconnect", (reason) => client.disconnects.push({ reason, at: Date.now() }));
      return client;
    }),
  );
  for (const transport of ["polling", "websocket"]) {
    assert.equal(await leaving.metric("rookery_connections", { transport }), 100);
  }
  const dismissed = KINDS.map((which) => clients.find((client) => client.which === which)).filter(Boolean);
  assert.equal(dismissed.length, 6);
  await Promise.all(dismissed.map(({ socket }) => join(socket, "dismissed")));
  const { body } = await staying.api("POST", "/api/disconnect", { room: "dismissed" });
  assert.deepEqual(body, { matched: 6, unanswered: [] });
  await until("they are dismissed", () => dismissed.every((client) => client.disconnects.length > 0));
  await until("their sessions are over", async () => (await leaving.metric("rookery_connections")) === 194);

  const told = Date.now();
  leaving.child.kill("SIGTERM");
  const moving = clients.filter((client) => !dismissed.includes(client));
  await until("all have moved", () => moving.every(({ socket, connects }) => connects > 0 && socket.connected));
  await endsWell(leaving);
  await until("the other one has them", async () => (await staying.metric("rookery_connections")) === 194);

  const quarters = [0, 0, 0, 0];
  for (const { which, connects, disconnects } of moving) {
    assert.equal(connects, 1, which.name);
    assert.equal(disconnects.length, 1, which.name);
    const [{ reason, at }] = disconnects;
    assert.equal(reason, "transport close", which.name);
    const since = at - told - LEAD;
    assert.ok(since > -50, `${which.name} was closed ${-since} ms before the window`);
    quarters[Math.min(3, Math.max(0, Math.floor((since * 4) / WINDOW)))]++;
  }
  t.diagnostic(`closed in each quarter of the window: ${quarters.join(", ")}`);
  assert.ok(Math.max(...quarters) <= moving.length / 2, quarters.join(", "));
  for (const { which, socket, connects, disconnects } of dismissed) {
    assert.equal(connects, 0, which.name);
    assert.deepEqual(disconnects.map(({ reason }) => reason), ["io server disconnect"], which.name);
    assert.equal(socket.connected, false, which.name);
  }
});

for (const which of KINDS.filter((k) => String(k.transports) === "polling")) {
  test(`${which.name}: queued messages are delivered before the session is closed`, async (t) => {
    const leaving = await Instance.start(t, { drain: { lead: "100ms", window: "100ms" } });
    const staying = await Instance.start(t);
    const proxy = await Proxy.start(t, leaving, staying);
    const socket = await connected(t, which, proxy.url);
    const events = [];
    socket.on("n", (n) => events.push(n));
    socket.on("disconnect", (reason) => events.push(reason));
    await join(socket, "room");
    const gate = new Gate();
    proxy.gate = async (request) => {
      if (isPoll(request)) await gate.pass();
    };
    await leaving.publish({ room: "room", event: "n", args: [0] });
    await until("the next poll comes", () => gate.waiting > 0);
    for (const n of [1, 2, 3]) await leaving.publish({ room: "room", event: "n", args: [n] });
    leaving.child.kill("SIGTERM");
    await until("sessions are being closed", () => leaving.lines.some((l) => l.includes("closing sessions")));
    await until("new sessions are refused", async () => {
      const response = await fetch(`${leaving.url}/socket.io/?EIO=4&transport=polling`);
      return response.status === 503;
    });
    gate.open();
    await until("it has moved", () => events.includes("transport close") && socket.connected);
    assert.deepEqual(events, [0, 1, 2, 3, "transport close"]);
    await endsWell(leaving);
  });
}

test("during the lead the instance accepts new sessions, and readiness reports the coming stop", async (t) => {
  const instance = await Instance.start(t, { drain: { lead: "2s", window: "100ms" } });
  const socket = await connected(t, kind(4, "websocket"), instance.url);
  await join(socket, "room");
  const heard = collect(socket, "n");
  instance.child.kill("SIGTERM");
  await until("it is not ready", async () => (await fetch(`${instance.internal}/readyz`)).status === 503);
  const late = await connected(t, kind(2, "polling"), instance.url);
  await join(late, "room");
  const { members } = await instance.publish({ room: "room", event: "n", args: [1] });
  assert.equal(members, 2);
  await until("it is delivered", () => heard.length === 1);
  assert.equal((await fetch(`${instance.internal}/livez`)).status, 200);
  await endsWell(instance);
});
