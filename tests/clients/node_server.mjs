// A Node Socket.IO server beside Rookery, with the adapter of a Redis.
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { atEnd } from "./harness.mjs";

/**
 * A server whose clients can `join` and `leave` rooms of the namespace `/`, closed with the test; `options` are the
 * adapter's, `own` the server's. `publisher` is its connection to Redis.
 */
export function nodeServer(t, redis, options, own) {
  return serverWith(t, redis, createAdapter, options, own);
}

/** One with the sharded adapter. */
export function shardedServer(t, redis, options, own) {
  return serverWith(t, redis, createShardedAdapter, options, own);
}

async function serverWith(t, redis, adapter, options, own) {
  const client = redis.client?.() ?? createClient({ url: redis.url });
  const publisher = client.on("error", () => {});
  await publisher.connect();
  const subscriber = publisher.duplicate().on("error", () => {});
  await subscriber.connect();
  // The adapter does not expect that Redis goes away before it answers.
  const publish = publisher.publish.bind(publisher);
  publisher.publish = (...args) => publish(...args).catch(() => {});
  // Nor does it wait for the end of its subscriptions before the client is closed.
  for (const name of ["unsubscribe", "pUnsubscribe", "sUnsubscribe"]) {
    const unsubscribe = subscriber[name].bind(subscriber);
    subscriber[name] = (...args) => unsubscribe(...args).catch(() => {});
  }
  const http = createServer();
  const io = new Server(http, { adapter: adapter(publisher, subscriber, options), allowEIO3: true, ...own });
  io.on("connection", (socket) => {
    socket.on("join", ({ room }, done) => {
      socket.join(room);
      done({ status: "SUCCESS" });
    });
    socket.on("leave", ({ room }, done) => {
      socket.leave(room);
      done({ status: "SUCCESS" });
    });
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  atEnd(t, async () => {
    await io.close();
    // `close` waits for answers, which a Redis that was killed meanwhile may owe for ever.
    subscriber.destroy();
    publisher.destroy();
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
