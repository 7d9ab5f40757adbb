// What crosses Redis between two instances, and what does not: the time of a publication from one to the other,
// messages for rooms without members, and 50,000 rooms with members, before and after Redis has restarted.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import { decimal, median, spread, summarise } from "./draw.mjs";
import { resident, settled } from "./memory.mjs";
import { startRedis } from "./redis.mjs";
import { openRooms } from "./room_members.mjs";
import { BARE_HOP, freePort, generate, openMembers, pinned, start, until } from "./servers.mjs";

const PAYLOAD = 128;
const RATE = 1000;
const MOST_HOP = 1.5;
// What a client is sent: the header of a frame, and an event with the payload.
const DELIVERY = 4 + `42["b","${"x".repeat(PAYLOAD)}"]`.length;
const OTHER_ROOMS = 1000;
const OCCUPIED = 50_000;
const CLIENTS = 50;
const MOST_PER_CLIENT = OCCUPIED / CLIENTS;
const LIMITS = `limits: { connections: 1000, connectRate: 100000/s, eventsPerSecond: 1000000, roomsPerClient: ${MOST_PER_CLIENT} }`;
// Their members answer no heartbeats.
const UNPINGED = { more: "socketio: { pingInterval: 1h }", nodeArgs: ["--ping-interval", "3600000"] };
// The most publications on their way at a time when each room is tried: it is no flood.
const MOST_UNHEARD = 1000;
const POLL_MS = 20;
const PATIENCE_MS = 60_000;

const systemsOf = ({ against }) => ["rookery", ...(against ? ["before"] : [])];

// What `measure` finds out about two new servers on a Redis. What it starts with `keep` is stopped.
async function paired(system, how, measure) {
  const started = [];
  const keep = (one) => (started.push(one), one);
  try {
    const redis = keep(await startRedis("1"));
    const server = async () => keep(await start[system]({ cores: "0", redis: redis.url, ...how }));
    return await measure({ redis, servers: [await server(), await server()], keep });
  } finally {
    for (const one of started.reverse()) await one.stop();
  }
}

async function connect(url, keep) {
  const { createClient } = await import("redis");
  const client = await createClient({ url }).on("error", () => {}).connect();
  keep({ stop: () => client.destroy() });
  return client;
}

const metric = async ({ internal }, name) => {
  const text = await (await fetch(`${internal}/metrics`)).text();
  return Number(text.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
};

// The size of the first publication that crosses Redis, in bytes.
async function sizeOfMessage(redis, keep) {
  const client = await connect(redis.url, keep);
  let size;
  await client.pSubscribe("socket.io#/#bench-*", (message) => (size ??= message.length), true);
  return async () => {
    await client.pUnsubscribe();
    return size;
  };
}

// Publications at a steady rate, from clients of one server to those of the other.
async function hopOf({ redis, servers, keep }, time) {
  const args = ["--clients", "100", "--rooms", "100", "--rate", `${RATE}`, "--payload", `${PAYLOAD}`];
  const [publishAt, other] = servers;
  const { latency } = await generate("1", servers, [...time, ...args], { membersAt: [other], publishAt });
  // One room for a moment more, to see how large a message is.
  const size = await sizeOfMessage(redis, keep);
  const short = ["--duration", "200ms", "--warmup", "100ms", "--clients", "1", "--rate", "50", "--payload", `${PAYLOAD}`];
  await generate("1", servers, short, { membersAt: [other], publishAt });
  return { latency, bytes: await size() };
}

async function reported(child) {
  await once(child, "close");
  if (child.exitCode !== 0) throw new Error(`the bare hop failed: ${child.output}`);
  return JSON.parse(child.output.split("\n").find((line) => line.startsWith("{")));
}

// The same at the same rate without a server: a message of that size through the same Redis, then a delivery's bytes
// written to a socket.
async function bareHop(redis, bytes, seconds) {
  const args = (size) => ["--bytes", `${size}`, "--rate", `${RATE}`, "--duration", `${Math.ceil(seconds)}`];
  const through = await reported(pinned("0", BARE_HOP, ["redis", redis.address, ...args(bytes)]));
  const address = `127.0.0.1:${await freePort()}`;
  const reader = pinned("1", BARE_HOP, ["read", address, ...args(DELIVERY)]);
  await until("the reader", reader, () => reader.output.includes("listening"));
  const read = reported(reader);
  const writer = pinned("0", BARE_HOP, ["write", address, ...args(DELIVERY)]);
  const write = await read;
  if (writer.exitCode === null) await once(writer, "exit");
  const sum = (key) => through[key] + write[key];
  return { latency: { p50Ms: sum("p50Ms"), p99Ms: sum("p99Ms") }, through, write };
}

const hop = {
  key: "redis-hop",
  group: "fan-out",
  redis: true,
  programs: [BARE_HOP],
  note:
    "For publications from one instance to another, the column of the bare loop has the sum of a message of the same size " +
    "through the same Redis, by a client that publishes and one that subscribes, and of a write of a delivery's bytes to a " +
    "socket. Rookery's and Node's times are those of the clients: they have the way to the first server too.",
  async measure(time, options) {
    const measured = {};
    for (const system of [...systemsOf(options), "node"]) {
      measured[system] = await paired(system, {}, async (pair) => {
        const { latency, bytes } = await hopOf(pair, time);
        if (system === "rookery") measured.bare = await bareHop(pair.redis, bytes, options.seconds);
        return { latency, bytes };
      });
    }
    return measured;
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const row = (quantile, key) => ({
      key: this.key,
      name: `${quantile} of ${RATE.toLocaleString("en-US")} publications per second from one instance to another, publication to receipt`,
      systems,
      metric: (report) => report.latency[key],
      unit: "ms",
      digits: 3,
    });
    const [p50, p99] = [summarise(row("p50", "p50Ms"), rounds), summarise(row("p99", "p99Ms"), rounds)];
    const ms = (of) => spread(rounds.map(({ bare }) => of(bare)), decimal(3), " ms");
    const parts = (part) => ({ bare: `${ms((bare) => bare[part].p50Ms)} / ${ms((bare) => bare[part].p99Ms)}` });
    const sizes = (system) => spread(rounds.map((round) => round[system].bytes), decimal(0), " B");
    const servers = systems.filter((system) => system !== "bare");
    p99.details = [
      { name: "the message through Redis alone, p50 / p99", cells: parts("through") },
      { name: "the write to a socket alone, p50 / p99", cells: parts("write") },
      { name: "size of the message", cells: Object.fromEntries(servers.map((system) => [system, sizes(system)])) },
    ];
    const met = median(rounds.map((round) => round.rookery.latency.p99Ms / round.bare.latency.p99Ms)) <= MOST_HOP;
    return [p50, { ...p99, wanted: `≤ ${MOST_HOP}× the bare sum`, met }];
  },
};

// What an instance with members in one room receives while another one publishes in 1,000 other rooms.
async function idleRooms({ servers: [busy, idle], keep }, system, time) {
  keep(await openMembers("1", idle, { rooms: 1, members: 1, room: "other" }));
  const received = () => metric(idle, 'rookery_redis_messages_total{direction="in"}');
  const counts = system !== "node";
  const before = counts && (await received());
  const args = ["--clients", `${OTHER_ROOMS}`, "--rooms", `${OTHER_ROOMS}`, "--rate", "2000", "--payload", `${PAYLOAD}`];
  const report = await generate("1", [busy, idle], [...time, ...args], { membersAt: [busy] });
  const messages = counts ? (await received()) - before : NaN;
  if (counts) await isHeard(busy, received);
  const cpu = report.cpuSecondsByProcess.map((spent) => (100 * spent) / report.seconds);
  return { messages, delivered: report.deliveriesPerSecond, cpu };
}

// That the counter counts: what is for the room with a member there.
async function isHeard(server, received) {
  const before = await received();
  const body = JSON.stringify({ room: "other-0", event: "b", args: [""] });
  const headers = { "content-type": "application/json" };
  await fetch(`${server.api}/api/publish`, { method: "POST", headers, body });
  await eventually("a publication to the room with a member", async () => (await received()) === before + 1);
}

const idle = {
  key: "redis-idle-rooms",
  group: "fan-out",
  redis: true,
  async measure(time, options) {
    const measured = {};
    for (const system of [...systemsOf(options), "node"]) {
      measured[system] = await paired(system, UNPINGED, (pair) => idleRooms(pair, system, time));
    }
    return measured;
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const rooms = OTHER_ROOMS.toLocaleString("en-US");
    const name =
      `Redis messages that an instance receives while another publishes 2,000 times per second in ${rooms} rooms ` +
      "without members on the first";
    const counted = systems.filter((system) => system !== "node");
    const row = { key: this.key, name, systems: counted, metric: (report) => report.messages, unit: "messages", digits: 0 };
    const each = (number) => (system) => spread(rounds.map((round) => number(round[system])), decimal(1));
    const detail = (name, number) => ({ name, cells: Object.fromEntries(systems.map((s) => [s, each(number)(s)])) });
    return {
      ...summarise(row, rounds),
      wanted: "0",
      met: rounds.every((round) => round.rookery.messages === 0),
      details: [
        detail("publications per second that reached the member of their room", (report) => report.delivered),
        detail("CPU of the instance without members, % of a core", (report) => report.cpu[1]),
        detail("CPU of the one that publishes, % of a core", (report) => report.cpu[0]),
      ],
    };
  },
};

async function eventually(what, condition) {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${PATIENCE_MS / 1000} s: ${what}`);
    await sleep(POLL_MS);
  }
}

// How fast the channels of all rooms come back after Redis has restarted: by what Redis counts, seconds after it
// answers again.
async function resubscribed(redis, keep) {
  await redis.restart();
  const client = await connect(redis.url, keep);
  const began = performance.now();
  let [first, last] = [undefined, { at: 0, channels: 0 }];
  await eventually("all rooms are subscribed again", async () => {
    const channels = Number(/^pubsub_channels:(\d+)/m.exec(await client.info("stats"))?.[1]);
    last = { at: (performance.now() - began) / 1000, channels };
    if (channels > 0) first ??= last;
    return channels >= OCCUPIED;
  });
  const rate = (last.channels - first.channels) / (last.at - first.at);
  return { seconds: last.at, perSecond: last === first ? NaN : rate };
}

// Publishes to each room at the other instance; gives how many of the rooms' members heard it.
async function heardByAll(server, members) {
  members.heard = 0;
  const headers = { "content-type": "application/json" };
  for (let from = 0; from < OCCUPIED; from += 100) {
    const rooms = members.rooms.slice(from, from + 100);
    const body = JSON.stringify(rooms.map((room) => ({ room, event: "b", args: ["x"] })));
    const answer = await fetch(`${server.api}/api/publish/batch`, { method: "POST", headers, body });
    if (!answer.ok) throw new Error(`a batch was answered ${answer.status}: ${await answer.text()}`);
    const wanted = from + rooms.length - MOST_UNHEARD;
    const isHeard = eventually("the rooms hear", () => members.heard >= wanted).then(() => true, () => false);
    if (!(await isHeard)) return members.heard;
  }
  await eventually("each room hears the other instance", () => members.heard >= OCCUPIED).catch(() => {});
  return members.heard;
}

const usedByRedis = async (client) => Number(/^used_memory:(\d+)/m.exec(await client.info("memory"))[1]) / 1024;

async function occupy({ redis, servers: [server, other], keep }, system) {
  const client = await connect(redis.url, keep);
  const members = keep(await openRooms(server, { clients: CLIENTS }));
  const before = { rookery: await settled(system, server), redis: await usedByRedis(client) };
  await members.join(OCCUPIED);
  await eventually("all rooms are subscribed", async () => /^pubsub_channels:(\d+)/m.exec(await client.info("stats"))[1] >= OCCUPIED);
  const after = { rookery: await settled(system, server), redis: await usedByRedis(client) };
  const { seconds, perSecond } = await resubscribed(redis, keep);
  for (const each of [server, other]) await eventually("Redis is up", async () => (await metric(each, "rookery_redis_up")) === 1);
  const heard = await heardByAll(other, members);
  return {
    perRoom: (after.rookery - before.rookery) / OCCUPIED,
    inRedis: (after.redis - before.redis) / OCCUPIED,
    restarted: resident(server) / 1024,
    ...{ seconds, perSecond, heard },
  };
}

const occupied = {
  key: "redis-50000",
  group: "fan-out",
  redis: true,
  async measure(time, options) {
    const measured = {};
    for (const system of systemsOf(options)) {
      measured[system] = await paired(system, { limits: LIMITS, ...UNPINGED }, (pair) => occupy(pair, system));
    }
    return measured;
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const rooms = OCCUPIED.toLocaleString("en-US");
    const name = `memory of a room with one member, of ${rooms} on an instance with Redis`;
    const row = { key: this.key, name, systems, metric: (report) => report.perRoom, unit: "KiB", digits: 2 };
    const detail = (name, key, digits, unit) => {
      const cell = (system) => spread(rounds.map((round) => round[system][key]), decimal(digits), unit);
      return { name, cells: Object.fromEntries(systems.map((system) => [system, cell(system)])) };
    };
    return {
      ...summarise(row, rounds),
      wanted: `all ${rooms} hear again`,
      met: rounds.every((round) => round.rookery.heard === OCCUPIED),
      details: [
        detail("in Redis", "inRedis", 2, " KiB"),
        detail("after Redis has restarted: seconds until all rooms are subscribed", "seconds", 2, " s"),
        detail("after Redis has restarted: subscriptions per second", "perSecond", 0),
        detail("after Redis has restarted: rooms that hear another instance", "heard", 0),
        detail("after Redis has restarted: memory of the instance", "restarted", 1, " MiB"),
      ],
    };
  },
};

export const FAN_OUT = [hop, idle, occupied];
