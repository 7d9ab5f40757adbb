// A Socket.IO server on Node with the events that `rookery bench` uses: join, leave and publish, and
// with POST /api/publish. Prints one line when it listens.
//
//   node node-server.mjs --port 3000 [--redis redis://127.0.0.1:6379]

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "socket.io";

const { values } = parseArgs({
  options: { port: { type: "string", default: "3000" }, redis: { type: "string" } },
});

const http = createServer(publishByHttp);
const io = new Server(http, {
  transports: ["polling", "websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  cors: { origin: "*" },
});

if (values.redis) {
  const { createClient } = await import("redis");
  const { createAdapter } = await import("@socket.io/redis-adapter");
  const publisher = createClient({ url: values.redis });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

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

function publishByHttp(request, response) {
  if (request.method !== "POST" || request.url !== "/api/publish") {
    response.writeHead(404).end();
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { room, event, args } = JSON.parse(Buffer.concat(chunks));
    io.to(room).emit(event, ...args);
    const body = JSON.stringify({ id: "", scope: "local", members: 0 });
    response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
    response.end(body);
  });
}
