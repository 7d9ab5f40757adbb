// Probes, scrapes and new clients while Redis floods the server with small messages for rooms with
// members here, compared with a quiet run of the same length. Reported without a target.

import { readFileSync, readdirSync } from "node:fs";

import { median } from "./draw.mjs";
import { startRedis } from "./redis.mjs";
import { CORES, startScript, start, until } from "./servers.mjs";

const ROOMS = 100;
const RATE = 100_000;
const WARMUP_MS = 2000;
const TICKS_PER_SECOND = 100;
// Members are never pinged: they discard what they receive, and answer nothing.
const SOCKETIO = "socketio: { pingInterval: 1h }";
// With four cores or more, members and probes have a core apart from Redis and the publisher.
const CLIENT_CORE = CORES < 4 ? "1" : "2";
const SHARED_CORE =
  "During the flood of Redis messages, the probes share a core with Redis, its publisher and the members: " +
  "their times include waiting for that core.";

const livez = {
  key: "livez-flood",
  name: "probes and scrapes",
  probes: ({ internal }) => [
    { name: "`/livez`, connection kept", url: `${internal}/livez`, perSecond: 100, keepAlive: true },
    { name: "`/livez`, new connection", url: `${internal}/livez`, perSecond: 100, keepAlive: false },
    { name: "`/metrics`", url: `${internal}/metrics`, perSecond: 20, keepAlive: true },
  ],
};

const accept = {
  key: "accept-flood",
  name: "new clients",
  probes: ({ url }) => [
    {
      name: "accept and polling handshake",
      url: `${url}/socket.io/?EIO=4&transport=polling`,
      perSecond: 100,
      keepAlive: false,
    },
  ],
};

const row = ({ key, name, probes }) => ({
  key,
  redis: true,
  note: CORES < 4 ? SHARED_CORE : undefined,
  async measure(time, { seconds, against }) {
    const measured = {};
    for (const system of against ? ["rookery", "before"] : ["rookery"]) {
      const quiet = await run(system, probes, seconds, false);
      measured[system] = { quiet, flooded: await run(system, probes, seconds, true) };
    }
    return measured;
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const text = `${name} during a flood of Redis messages for ${ROOMS} rooms with members`;
    const details = rounds[0].rookery.quiet.probes.map((probe) => probe.name);
    return {
      row: { key, name: text, systems: [] },
      values: {},
      ratio: NaN,
      wanted: "",
      met: true,
      details: [
        detail("messages per second: published / received / dropped; reconnects in all rounds", systems, (s) => traffic(rounds, s)),
        detail("CPU of the server / of its backplane thread, of one core", systems, (s) => cpu(rounds, s)),
        ...details.map((probe) =>
          detail(`${probe}, p50 / p99, quiet → flooded`, systems, (s) => latency(rounds, s, probe)),
        ),
      ],
    };
  },
});

const detail = (name, systems, cell) => ({
  name,
  cells: Object.fromEntries(systems.map((system) => [system, cell(system)])),
});

function traffic(rounds, system) {
  const rate = (key) => median(rounds.map((round) => round[system].flooded[key]));
  const rates = ["published", "received", "dropped"].map((key) => Math.round(rate(key)).toLocaleString("en-US"));
  const reconnects = rounds.reduce((sum, round) => sum + round[system].flooded.reconnects, 0);
  return `${rates.join(" / ")}; ${reconnects}`;
}

function cpu(rounds, system) {
  const share = (key) => median(rounds.map((round) => round[system].flooded.cpu[key]));
  const percent = (share) => (Number.isFinite(share) ? `${Math.round(share * 100)}%` : "none");
  return `${percent(share("process"))} / ${percent(share("backplane"))}`;
}

function latency(rounds, system, name) {
  const of = (run) => rounds.map((round) => round[system][run].probes.find((probe) => probe.name === name));
  const middle = (run, key) => median(of(run).map((probe) => probe[key])).toFixed(2);
  const failed = [...of("quiet"), ...of("flooded")].reduce((sum, probe) => sum + probe.failed, 0);
  const times = ["quiet", "flooded"].map((run) => `${middle(run, "p50")} / ${middle(run, "p99")}`);
  return `${times.join(" → ")} ms${failed ? ` (${failed} failed)` : ""}`;
}

// Measures one server, with a member in each room, with or without the flood.
async function run(system, probes, seconds, flooded) {
  const started = [];
  const keep = (one) => (started.push(one), one);
  try {
    const redis = keep(await startRedis("1"));
    const server = keep(await start[system]({ cores: "0", redis: redis.url, more: SOCKETIO }));
    const rooms = ["--rooms", `${ROOMS}`];
    const members = keep(startScript(CLIENT_CORE, "members.mjs", ["--url", server.url, ...rooms]));
    const client = await connect(redis.url);
    keep({ stop: () => client.close() });
    const subscribed = async () => (await client.pubSubChannels("socket.io#/#flood-*")).length === ROOMS;
    await until("the members", members.child, subscribed);
    if (flooded) {
      const args = ["--redis", redis.url, ...rooms, "--rate", `${RATE}`];
      keep(startScript("1", "flood/publisher.mjs", args));
    }
    await new Promise((resolve) => setTimeout(resolve, WARMUP_MS));
    const before = await counts(server, client);
    const args = ["--seconds", `${seconds}`, "--probes", JSON.stringify(probes(server))];
    const report = await keep(startScript(CLIENT_CORE, "flood/prober.mjs", args)).report();
    const measured = difference(before, await counts(server, client));
    const failed = started.find((one) => one.child?.exitCode);
    if (failed) throw new Error(`a client failed: ${failed.child.output}`);
    return { ...measured, probes: Object.entries(report).map(([name, probe]) => ({ name, ...probe })) };
  } finally {
    for (const one of started.reverse()) await one.stop();
  }
}

async function connect(url) {
  const { createClient } = await import("redis");
  const client = createClient({ url });
  return client.on("error", () => {}).connect();
}

// What has been published, received and dropped, and the CPU time used, since the start.
async function counts(server, client) {
  const commands = await client.info("commandstats");
  const metrics = await (await fetch(`${server.internal}/metrics`)).text();
  const metric = (name) => Number(metrics.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
  return {
    at: performance.now() / 1000,
    published: Number(/cmdstat_publish:calls=(\d+)/.exec(commands)?.[1] ?? 0),
    received: metric('rookery_redis_messages_total{direction="in"}'),
    dropped: metric("rookery_redis_dropped_total"),
    reconnects: metric("rookery_redis_reconnects_total"),
    cpu: cpuSeconds(server.pid),
  };
}

// The CPU seconds of all threads, and of the one named "backplane": NaN if there is none.
function cpuSeconds(pid) {
  const spent = { process: 0, backplane: NaN };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const seconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    spent.process += seconds;
    if (name === "backplane") spent.backplane = seconds;
  }
  return spent;
}

// Rates per second, and the number of reconnects to Redis.
function difference(from, to) {
  const rate = (key, a = from, b = to) => (b[key] - a[key]) / (to.at - from.at);
  const cpu = Object.fromEntries(["process", "backplane"].map((key) => [key, rate(key, from.cpu, to.cpu)]));
  const reconnects = to.reconnects - from.reconnects;
  return { published: rate("published"), received: rate("received"), dropped: rate("dropped"), reconnects, cpu };
}

export const FLOOD = [row(livez), row(accept)];
