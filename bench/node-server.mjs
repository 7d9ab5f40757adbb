// A Socket.IO server on Node with the events that `rookery bench` uses: join, leave and publish, and
// with POST /api/publish and /api/publish/batch. Prints one line when it listens.
//
//   node [--expose-gc] node-server.mjs --port 3000 [--redis redis://127.0.0.1:6379] [--wire classic|sharded]
//        [--jwt HS256|RS256|ES256 --key FILE] [--namespaces /a,/b]
//        [--ping-interval 25000] [--ping-timeout 20000] [--per-message-deflate]
//
// --redis takes redis-cluster://a:6379,b:6379 too, for --wire sharded.
// With --jwt, a middleware verifies the token in the auth payload with node:crypto. With --expose-gc,
// SIGUSR2 collects garbage.

import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "socket.io";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "3000" },
    redis: { type: "string" },
    wire: { type: "string", default: "classic" },
    jwt: { type: "string" },
    key: { type: "string" },
    namespaces: { type: "string", default: "" },
    "ping-interval": { type: "string", default: "25000" },
    "ping-timeout": { type: "string", default: "20000" },
    "per-message-deflate": { type: "boolean", default: false },
  },
});

process.on("SIGUSR2", () => {
  // The second collection takes what the first one's finalizers released.
  globalThis.gc?.();
  globalThis.gc?.();
});

const http = createServer(publishByHttp);
const io = new Server(http, {
  transports: ["polling", "websocket"],
  perMessageDeflate: values["per-message-deflate"],
  httpCompression: false,
  serveClient: false,
  cors: { origin: "*" },
  pingInterval: Number(values["ping-interval"]),
  pingTimeout: Number(values["ping-timeout"]),
});

if (values.redis) {
  const { createClient, createCluster } = await import("redis");
  const { createAdapter, createShardedAdapter } = await import("@socket.io/redis-adapter");
  const [scheme, addresses] = values.redis.split("://");
  const rootNodes = addresses.split(",").map((address) => ({ url: `redis://${address}` }));
  const publisher = scheme === "redis-cluster" ? createCluster({ rootNodes }) : createClient({ url: values.redis });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter((values.wire === "sharded" ? createShardedAdapter : createAdapter)(publisher, subscriber));
}

if (values.jwt) {
  const verified = verifier(values.jwt, readFileSync(values.key));
  io.use((socket, next) => {
    socket.data.claims = verified(socket.handshake.auth.token);
    next(socket.data.claims ? undefined : new Error("unauthenticated"));
  });
}

for (const name of values.namespaces.split(",").filter(Boolean)) io.of(name);

io.on("connection", (socket) => {
  const acknowledge = (event, ack, payload) => ack?.({ status: "SUCCESS", event, payload });
  socket.on("join", async (request, ack) => {
    await socket.join(request.room);
    acknowledge("join", ack, request);
  });
  socket.on("leave", async (request, ack) => {
    await socket.leave(request.room);
    acknowledge("leave", ack, request);
  });
  socket.on("publish", (request, ack) => {
    io.to(request.room).emit(request.event, request.data);
    acknowledge("publish", ack, request);
  });
});

http.listen(Number(values.port), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${http.address().port}`);
});

// A function that returns the claims of a valid token, otherwise undefined.
function verifier(algorithm, key) {
  const publicKey = algorithm === "HS256" ? undefined : createPublicKey(key);
  const isSignedBy = (signed, signature) => {
    if (publicKey) {
      return verify("sha256", Buffer.from(signed), { key: publicKey, dsaEncoding: "ieee-p1363" }, signature);
    }
    const expected = createHmac("sha256", key).update(signed).digest();
    return expected.length === signature.length && timingSafeEqual(expected, signature);
  };
  return (token) => {
    const [header, payload, signature] = String(token).split(".");
    if (!signature || !isSignedBy(`${header}.${payload}`, Buffer.from(signature, "base64url"))) return undefined;
    const [{ alg }, claims] = [header, payload].map((part) => JSON.parse(Buffer.from(part, "base64url")));
    return alg === algorithm && claims.exp > Date.now() / 1000 ? claims : undefined;
  };
}

function publishByHttp(request, response) {
  const batch = request.url === "/api/publish/batch";
  if (request.method !== "POST" || (!batch && request.url !== "/api/publish")) {
    response.writeHead(404).end();
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const publications = JSON.parse(Buffer.concat(chunks));
    const answer = batch ? { results: publications.map(publish) } : publish(publications);
    const body = JSON.stringify(answer);
    response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
    response.end(body);
  });
}

function publish({ room, event, args }) {
  io.to(room).emit(event, ...args);
  return { id: "", scope: "local", members: 0 };
}
