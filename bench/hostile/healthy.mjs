// Healthy clients beside a swarm: members of a room with a steady publisher, and clients that come
// anew. Prints "joined" when all members are there, waits for a line on stdin, and prints a report in
// JSON.
//
//   node healthy.mjs --url http://127.0.0.1:3000 --api http://127.0.0.1:9090 --seconds 10

import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { frame, handshake } from "../websocket.mjs";

const MEMBERS = 200;
const PUBLICATIONS_PER_SECOND = 20;
const NEW_PER_SECOND = 20;
// How long a message, and the admission of a new client, may take.
const PATIENCE_MS = 5000;
const ROOM = "healthy";

const { values } = parseArgs({ options: { url: { type: "string" }, api: { type: "string" }, seconds: { type: "string" } } });
const url = new URL(values.url);
const latencies = [];
let heard = 0;
let lost = 0;

// Documentation addresses (RFC 5737), which no swarm has.
const addressOf = (n) => `203.0.${113 + (n >> 8)}.${n & 255}`;

// Connects, and calls back when the namespace has answered, and for each message.
function client(n, { onConnect, onMessage = () => {}, onClose = () => {} }) {
  const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
  let text = "";
  let connected = false;
  socket.on("error", () => {}).on("close", onClose);
  socket.on("data", (data) => {
    text += data.toString("latin1");
    if (!connected && text.includes('40{"sid"')) {
      connected = true;
      onConnect(socket);
    }
    if (connected && text.includes("\u0081\u00012")) socket.write(frame("3"));
    for (const [, at] of text.matchAll(/"at":(\d+\.?\d*)\}/g)) onMessage(Number(at));
    // What is left of the last message, if it is not whole.
    const end = Math.max(text.lastIndexOf("}]"), text.lastIndexOf("\u0081\u00012"));
    text = end < 0 ? text.slice(-4096) : text.slice(end + 2);
  });
  socket.write(handshake(url, { "X-Forwarded-For": addressOf(n) }));
  socket.write(frame("40"));
  return socket;
}

function member(n) {
  return new Promise((resolve) => {
    client(n, {
      onConnect(socket) {
        socket.write(frame(`42${JSON.stringify(["join", { room: ROOM }])}`));
        resolve();
      },
      onMessage(at) {
        heard += 1;
        latencies.push(performance.timeOrigin + performance.now() - at);
      },
      onClose: () => (lost += 1),
    });
  });
}

// Whether a new client is admitted.
function admitted(n) {
  return new Promise((resolve) => {
    const end = (is) => {
      resolve(is);
      socket.destroy();
    };
    const socket = client(n, { onConnect: () => end(true), onClose: () => resolve(false) });
    setTimeout(() => end(false), PATIENCE_MS).unref();
  });
}

async function publish() {
  const at = performance.timeOrigin + performance.now();
  const body = JSON.stringify({ room: ROOM, event: "tick", args: [{ text: "x".repeat(80), at }] });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${values.api}/api/publish`, { method: "POST", body, headers }).catch(() => undefined);
  await answer?.text();
  return answer?.ok ? 1 : 0;
}

// Does something this many times a second, and counts what it gives.
async function steadily(perSecond, one) {
  const began = performance.now();
  const all = [];
  for (let i = 0; i < perSecond * Number(values.seconds); i++) {
    all.push(one(i));
    await sleep(Math.max(0, began + ((i + 1) * 1000) / perSecond - performance.now()));
  }
  return (await Promise.all(all)).reduce((sum, one) => sum + Number(one), 0);
}

for (let n = 0; n < MEMBERS; n += 20) {
  await Promise.all(Array.from({ length: 20 }, (_, i) => member(n + i)));
}
await sleep(500);
console.log("joined");
await once(process.stdin, "data");
const [published, newcomers] = await Promise.all([
  steadily(PUBLICATIONS_PER_SECOND, publish),
  steadily(NEW_PER_SECOND, (i) => admitted(MEMBERS + i)),
]);
const deadline = Date.now() + PATIENCE_MS;
while (heard < published * MEMBERS && Date.now() < deadline) await sleep(50);
latencies.sort((a, b) => a - b);
const quantile = (q) => latencies[Math.floor(q * (latencies.length - 1))];
const report = {
  published,
  heard: heard / (published * MEMBERS),
  lost,
  p50: quantile(0.5),
  p99: quantile(0.99),
  offeredPerSecond: NEW_PER_SECOND,
  admittedPerSecond: newcomers / Number(values.seconds),
};
console.log(JSON.stringify(report));
process.exit(0);
