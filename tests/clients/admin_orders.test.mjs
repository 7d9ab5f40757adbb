// What admins order.
import assert from "node:assert/strict";
import test from "node:test";
import { WEBSOCKET, configured, loggedIn, withAdmins } from "./admins.mjs";
import { ask, collect, connected, pair, until } from "./harness.mjs";

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
