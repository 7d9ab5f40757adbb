// Arguments nest 64 levels deep, whoever publishes: what is accepted reaches the members of every
// instance, what is deeper is refused where it enters.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import { Emitter } from "@socket.io/redis-emitter";
import { ask, atEnd, collect, connected, join, kind, pair, until } from "./harness.mjs";

const DEEPEST = 64;

/** A value that nests this many levels of arrays and objects. */
function nested(levels, value = "innermost") {
  for (let level = 0; level < levels; level++) value = level % 2 ? { value } : [value];
  return value;
}

const bridge = [{ channel: "deep", namespace: "/", room: "{room}", event: "{event}", args: ["{data}"] }];

test("what nests to the bound reaches the members of two instances, and no more is accepted", async (t) => {
  const { redis, one, other } = await pair(t, { redis: { bridge } });
  const backend = await createClient({ url: redis.url }).connect();
  atEnd(t, () => backend.destroy());
  const emitter = new Emitter(backend);
  const clients = [];
  for (const instance of [one, other]) {
    for (const which of [kind(4, "websocket"), kind(3, "polling"), kind(2, "websocket")]) {
      clients.push(await connected(t, which, instance.url));
    }
  }
  for (const client of clients) await join(client, "room");
  const heard = clients.map((client) => collect(client, "deep"));

  const api = async (instance, route, body) => (await instance.api("POST", route, body)).body;
  const message = (data) => ({ room: "room", event: "deep", args: [data] });
  const said = (data) => ({ room: "room", event: "deep", data });
  const asked = async (client, data) => {
    const { status, error } = await ask(client, "publish", said(data));
    return status === "SUCCESS" ? undefined : error.message;
  };
  const dropped = () => one.metric("rookery_redis_dropped_total");
  /** Sends by Redis; the error of what is too deep is a count. */
  const byRedis = (send) => async (data, isTooDeep) => {
    const before = await dropped();
    await send(data);
    if (isTooDeep) await until("it is counted", async () => (await dropped()) > before);
    return isTooDeep ? "64 levels" : undefined;
  };
  const entrances = {
    "a client of Socket.IO 4": async (data) => asked(clients[0], data),
    "a client of Socket.IO 2": async (data) => asked(clients[2], data),
    "the API": async (data) => (await api(one, "/api/publish", message(data))).detail,
    "a batch": async (data) => (await api(other, "/api/publish/batch", [message(data)])).results[0].detail,
    "the bridge": byRedis((data) => backend.publish("deep", JSON.stringify(said(data)))),
    "an emitter": byRedis((data) => emitter.to("room").emit("deep", data)),
    "an emitter of acks": byRedis((data) => {
      const packet = { type: 2, data: ["deep", data], nsp: "/" };
      const request = { type: 7, uid: "u", requestId: "q", packet, opts: { rooms: ["room"], except: [] } };
      return backend.publish("socket.io-request#/#", JSON.stringify(request));
    }),
  };
  for (const [name, send] of Object.entries(entrances)) {
    for (const value of ["innermost", [], { $binary: "AQ==" }]) {
      const [levels, over] = Array.isArray(value) ? [DEEPEST - 1, DEEPEST] : [DEEPEST, DEEPEST + 1];
      if (value.$binary && !name.includes("API")) continue;
      const error = await send(nested(over, value), true);
      assert.match(String(error), /64 levels/, `${name}: ${JSON.stringify(value)}`);
      assert.equal(await send(nested(levels, value), false), undefined, name);
      await until(`${name} reaches everybody`, () => heard.every((list) => list.length > 0));
      const expected = nested(levels, value.$binary ? Buffer.from([1]) : value);
      // Of a broadcast that wants acknowledgements, the last argument is what answers it.
      const args = (list) => list.splice(0).map((all) => all.filter((arg) => typeof arg !== "function"));
      for (const list of heard) assert.deepEqual(args(list), [[expected]], name);
    }
  }
  // Beyond what any JSON here may nest, the API says why too.
  const { detail } = await api(one, "/api/publish", message(nested(200)));
  assert.match(detail, /64 levels/);
  assert.ok(clients.every((client) => client.connected));
});
