// Publishes small messages to Redis, in turn for each of a number of rooms, at a constant rate.
//
//   node publisher.mjs --redis redis://127.0.0.1:6379 --rooms 100 --rate 100000

import { connect } from "node:net";
import { parseArgs } from "node:util";

import { publish, roomName } from "./messages.mjs";

const TICK_MS = 10;
// What a late tick may catch up on: later messages are not sent.
const MAX_LATE_MS = 100;

const { values } = parseArgs({
  options: { redis: { type: "string" }, rooms: { type: "string" }, rate: { type: "string" } },
});
const rooms = Number(values.rooms);
const rate = Number(values.rate);
const batch = Buffer.concat(Array.from({ length: rooms }, (_, i) => publish(roomName(i))));

const { hostname, port } = new URL(values.redis);
const redis = connect({ host: hostname, port: Number(port), noDelay: true });
redis.resume().on("error", fail).on("close", () => fail(new Error("Redis closed the connection")));
redis.write("CLIENT REPLY OFF\r\n");
let sentUntil = performance.now();
setInterval(() => {
  const now = performance.now();
  if (redis.writableLength > 0) return;
  sentUntil = Math.max(sentUntil, now - MAX_LATE_MS);
  const batches = Math.floor(((now - sentUntil) * rate) / 1000 / rooms);
  if (batches === 0) return;
  redis.write(Buffer.concat(Array(batches).fill(batch)));
  sentUntil += (batches * rooms * 1000) / rate;
}, TICK_MS);

function fail(error) {
  console.error(error.message);
  process.exit(1);
}
