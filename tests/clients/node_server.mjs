// A Node Socket.IO server beside Rookery, with the adapter of a Redis.
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Redis as IoRedis } from "ioredis";
import { createClient } from "redis";
import { Server } from "socket.io";
import { atEnd, until, within } from "./harness.mjs";

/** Commands whose answers the adapter does not wait for, nor expects to fail. */
const UNAWAITED = [
  ["subscribe", "pSubscribe", "sSubscribe", "psubscribe", "ssubscribe"],
  ["unsubscribe", "pUnsubscribe", "sUnsubscribe", "punsubscribe", "sunsubscribe"],
].flat();

/**
 * A server whose clients can `join` and `leave` rooms of the namespace `/`, closed with the test; `options` are the
 * adapter's, `own` the server's. `publisher` is its connection to Redis.
 */
export async function nodeServer(t, redis, options, own) {
  return serverWith(t, await nodeRedis(redis), createAdapter, options, own);
}

/** One with the sharded adapter. */
export async function shardedServer(t, redis, options, own) {
  return serverWith(t, await nodeRedis(redis), createShardedAdapter, options, own);
}

/** One whose connections are those of ioredis, for a wire; `publisher` is the first of them. */
export async function ioredisServer(t, redis, wire, publisher = redis.ioredis?.() ?? new IoRedis(redis.url)) {
  const subscriber = publisher.duplicate();
  const connections = [publisher, subscriber].map((connection) => connection.on("error", () => {}));
  await within("ioredis connects", Promise.all(connections.map((connection) => {
    return new Promise((resolve) => connection.once("ready", resolve));
  })));
  const close = async () => {
    for (const connection of connections) connection.disconnect();
    for (const connection of connections) {
      // One that was asking for the slots of a Cluster will ask again for ever.
      await until("it does not ask for slots", () => !connection.isRefreshing);
      connection.disconnect();
    }
  };
  const adapter = wire === "sharded" ? createShardedAdapter : createAdapter;
  return serverWith(t, { publisher, subscriber, close }, adapter);
}

/** Connections of the package `redis`. */
async function nodeRedis(redis) {
  const client = redis.client?.() ?? createClient({ url: redis.url });
  const publisher = client.on("error", () => {});
  await publisher.connect();
  const subscriber = publisher.duplicate().on("error", () => {});
  await subscriber.connect();
  // `close` waits for answers, which a Redis that was killed meanwhile may owe for ever.
  const close = () => [subscriber, publisher].forEach((connection) => connection.destroy());
  return { publisher, subscriber, close };
}

async function serverWith(t, { publisher, subscriber, close }, adapter, options, own) {
  // The adapter does not expect that Redis goes away before it answers.
  const publish = publisher.publish.bind(publisher);
  publisher.publish = (...args) => publish(...args).catch(() => {});
  const underWay = new Set();
  for (const name of UNAWAITED.filter((name) => subscriber[name])) {
    const command = subscriber[name].bind(subscriber);
    subscriber[name] = (...args) => {
      const answered = command(...args).catch(() => {}).then(() => underWay.delete(answered));
      underWay.add(answered);
      return answered;
    };
  }
  const http = createServer();
  const io = new Server(http, { adapter: adapter(publisher, subscriber, options), allowEIO3: true, ...own });
  io.on("connection", (socket) => {
    const answer = (change) => async ({ room }, done) => {
      change(room);
      // What is published after the answer is heard.
      await Promise.all(underWay);
      done({ status: "SUCCESS" });
    };
    socket.on("join", answer((room) => socket.join(room)));
    socket.on("leave", answer((room) => socket.leave(room)));
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  atEnd(t, async () => {
    await io.close();
    await close();
  });
  return { io, publisher, url: `http://127.0.0.1:${http.address().port}` };
}

/** How many servers, of Node and of Rookery, listen to the requests of Node in the namespace `/`. */
export async function servers(publisher) {
  return (await publisher.sendCommand(["PUBSUB", "NUMSUB", "socket.io-request#/#"]))[1];
}

/** How many servers, of Node and of Rookery, listen on the sharded wire in the namespace `/`. */
export async function shardedServers(publisher) {
  return (await publisher.sendCommand(["PUBSUB", "SHARDNUMSUB", "socket.io#/#"]))[1];
}
