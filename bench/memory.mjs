// What a room, a membership and a namespace add to the server's memory, and what it gives back when
// thousands of sessions have vanished. The clients run in this process, on any core: no CPU time is
// measured.

import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { decimal, spread, summarise } from "./draw.mjs";
import { start } from "./servers.mjs";
import { frame, handshake } from "./websocket.mjs";

const CLIENTS = 2000;
// One fewer than the limit of rooms per client: every client is in one already.
const JOINS = 99;
const NAMESPACES = Array.from({ length: 10 }, (_, i) => `/n${i}`);
const SETTLE_MS = 2000;

const SESSIONS = 10_000;
const OPENING = 100;
const PING_INTERVAL_MS = 20_000;
const PING_TIMEOUT_MS = 5000;
const AFTER_MS = 10_000;
const SAMPLE_MS = 100;

const systemsOf = ({ against }) => ["rookery", ...(against ? ["before"] : []), "node"];

// What `measure` finds out about a new server.
async function measured(system, how, measure) {
  const server = await start[system]({ cores: "0", ...how });
  try {
    return await measure(system, server);
  } finally {
    await server.stop();
  }
}

async function eachSystem(options, measure) {
  const reports = {};
  for (const system of systemsOf(options)) reports[system] = await measure(system);
  return reports;
}

/** Resident memory in KiB. */
export const resident = ({ pid }) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);

/** The same, once the server is at rest. */
export async function settled(system, server) {
  // A Node server collects garbage on this signal.
  if (system === "node") process.kill(server.pid, "SIGUSR2");
  await sleep(SETTLE_MS);
  return resident(server);
}

// A session over WebSocket. `ask` sends packets and waits for this many answers.
function open(url) {
  const { host, hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  let [text, waiting] = ["", undefined];
  const check = () => {
    if (waiting && text.includes('"ERROR"')) waiting.reject(new Error(text));
    if (waiting && (text.match(waiting.pattern)?.length ?? 0) >= waiting.count) waiting.resolve();
  };
  socket.on("data", (data) => {
    text += data.toString("latin1");
    check();
  });
  socket.on("error", (error) => waiting?.reject(error));
  socket.on("close", () => waiting?.reject(new Error("the server closed a connection")));
  socket.write(handshake({ host }));
  return {
    async ask(packets, pattern) {
      text = "";
      socket.write(Buffer.concat(packets.map(frame)));
      await new Promise((resolve, reject) => {
        waiting = { pattern, count: packets.length, resolve, reject };
        check();
      });
      waiting = undefined;
    },
    close: () => socket.destroy(),
  };
}

const join = (room, id) => `42${id}${JSON.stringify(["join", { room }])}`;
const numbers = Array.from({ length: JOINS }, (_, n) => n);

// What each client asks for, and what each answer has.
const ASKED = {
  membership: { packets: () => numbers.map((n) => join(`shared-${n}`, n)), pattern: /43\d+\[/g },
  room: { packets: (client) => numbers.map((n) => join(`own-${client}-${n}`, n)), pattern: /43\d+\[/g },
  namespace: { packets: () => NAMESPACES.map((name) => `40${name},`), pattern: /40\/n\d,\{"sid"/g },
};

// The memory in KiB that one answer adds to a server whose clients are connected and in one room.
const added = ({ packets, pattern }) => async (system, server) => {
  const clients = [];
  try {
    for (let i = 0; i < CLIENTS; i++) {
      const client = open(server.url);
      clients.push(client);
      await client.ask(["40"], /40\{"sid"/g);
      await client.ask([join("first", 0)], /43\d+\[/g);
    }
    const before = await settled(system, server);
    for (const [i, client] of clients.entries()) await client.ask(packets(i), pattern);
    return ((await settled(system, server)) - before) / (CLIENTS * packets(0).length);
  } finally {
    clients.forEach((client) => client.close());
  }
};

const parts = {
  key: "memory",
  async measure(time, options) {
    const more = `namespaces: ${JSON.stringify(["/", ...NAMESPACES])}\nsocketio: { pingInterval: 1h }`;
    const nodeArgs = ["--namespaces", NAMESPACES.join(","), "--ping-interval", "3600000"];
    return eachSystem(options, async (system) => {
      const costs = {};
      for (const [what, asked] of Object.entries(ASKED)) {
        costs[what] = await measured(system, { more, nodeArgs }, added(asked));
      }
      return costs;
    });
  },
  line(rounds) {
    const one = (name, metric) =>
      summarise(
        { key: this.key, name: `memory of ${name}`, systems: Object.keys(rounds[0]), metric, unit: "KiB", digits: 2 },
        rounds,
      );
    return [
      one("a room with one member, besides the membership", (costs) => costs.room - costs.membership),
      one("a membership in one of a client's further rooms", (costs) => costs.membership),
      one("a further namespace that a client connects to", (costs) => costs.namespace),
    ];
  },
};

// One request over polling, until its answer has arrived.
function poll(url, agent, method, body) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, method }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (data) => (text += data)).on("error", reject);
      answer.on("end", () => (answer.statusCode === 200 ? resolve(text) : reject(new Error(text))));
    });
    sent.on("error", reject).end(body);
  });
}

// Opens sessions over polling and connects them to the namespace. Nobody polls or closes them.
async function openPhantoms(server) {
  const agent = new Agent({ keepAlive: true, maxSockets: OPENING });
  const url = `${server.url}/socket.io/?EIO=4&transport=polling`;
  let next = 0;
  const open = async () => {
    while (next++ < SESSIONS) {
      const { sid } = JSON.parse((await poll(url, agent, "GET")).slice(1));
      await poll(`${url}&sid=${sid}`, agent, "POST", "40");
    }
  };
  await Promise.all(Array.from({ length: OPENING }, open));
  agent.destroy();
}

async function expectNoSessions({ internal }) {
  const metrics = await (await fetch(`${internal}/metrics?name[]=rookery_connections`)).text();
  const open = [...metrics.matchAll(/^rookery_connections\{.*\} (\d+)/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  if (open > 0) throw new Error(`${open} sessions have not ended`);
}

async function vanish(system, server) {
  await sleep(SETTLE_MS);
  const before = resident(server);
  let peak = before;
  const sampler = setInterval(() => (peak = Math.max(peak, resident(server))), SAMPLE_MS);
  try {
    await openPhantoms(server);
    await sleep(PING_INTERVAL_MS + PING_TIMEOUT_MS + AFTER_MS);
  } finally {
    clearInterval(sampler);
  }
  if (server.internal) await expectNoSessions(server);
  return { before, peak, after: await settled(system, server) };
}

const vanished = {
  key: "vanished",
  async measure(time, options) {
    const more = `socketio: { pingInterval: ${PING_INTERVAL_MS}ms, pingTimeout: ${PING_TIMEOUT_MS}ms }`;
    const nodeArgs = ["--ping-interval", `${PING_INTERVAL_MS}`, "--ping-timeout", `${PING_TIMEOUT_MS}`];
    return eachSystem(options, (system) => measured(system, { more, nodeArgs }, vanish));
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const left = (report) => (report.after - report.before) / 1024;
    const name = `memory that 10,000 sessions leave behind, opened by polling and abandoned, ${AFTER_MS / 1000} s after their end`;
    const line = summarise({ key: this.key, name, systems, metric: left, unit: "MiB" }, rounds);
    const mib = (system, key) => spread(rounds.map((round) => round[system][key] / 1024), decimal(1), " MiB");
    const detail = (name, key) => ({ name, cells: Object.fromEntries(systems.map((system) => [system, mib(system, key)])) });
    return { ...line, details: [detail("before", "before"), detail("at the peak", "peak"), detail("after", "after")] };
  },
};

export const MEMORY = [parts, vanished];
