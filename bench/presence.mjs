// Rooms with presence, with Redis: what a join costs by the number of members, and what a quiet room on the
// same instance feels while 1,000 clients join one.

import { readdirSync } from "node:fs";

import { decimal, median, spread, summarise } from "./draw.mjs";
import { startRedis } from "./redis.mjs";
import { EVENT_CLIENTS, openMembers, start, startEventClients, startGenerator, until } from "./servers.mjs";

const MEMBERS = 1000;
const SIZES = [10, 100, MEMBERS];
const JOINERS = 10;
// Joins per second, by the size of the room: what the members can read beside everything else.
const RATES = { 10: 500, 100: 500, [MEMBERS]: 100 };
const QUIET_MEMBERS = 10;
const EVERY_S = 1;
const MOST_DELAYED = 3;
// What linear growth comes to, from a room of 100 to one of 1,000.
const MOST_GROWTH = 10;

const SHOWN = `presence: true, presenceInfo: "{'name': 'Ada Lovelace'}"`;
const RULES = `
rooms: [{ match: "shown-{n}", ${SHOWN} }, { match: "plain-{n}" }, { match: "quiet-{n}" }]
presence: { max: ${2 * MEMBERS} }
`;

const systemsOf = ({ against }) => (against ? ["rookery", "before"] : ["rookery"]);

// What `measure` finds out about a new server with a Redis of its own. What it starts with `keep` is stopped.
async function measured(system, measure) {
  const started = [];
  const keep = (one) => (started.push(one), one);
  try {
    const redis = keep(await startRedis("1"));
    const server = keep(await start[system]({ cores: "0", redis: redis.url, more: RULES }));
    return await measure(server, keep);
  } finally {
    for (const one of started.reverse()) await one.stop();
  }
}

async function eachSystem(options, measure) {
  const reports = {};
  for (const system of systemsOf(options)) reports[system] = await measure(system);
  return reports;
}

const cells = (systems, cell) => Object.fromEntries(systems.map((system) => [system, cell(system)]));

// A few clients that join and leave rooms of a size, again and again.
const joining = (size, seconds) => async (server, keep) => {
  const rooms = MEMBERS / size;
  keep(await openMembers("1", server, { rooms, members: size, room: "shown" }));
  const room = rooms === 1 ? "shown-0" : "shown-{n}";
  const events = [["join", { room }], ["leave", { room }]];
  const pace = ["--rate", `${2 * RATES[size]}`];
  const report = await keep(startEventClients("1", server, { clients: JOINERS, events, pace, seconds })).report();
  return { cpuMs: (2000 * report.serverCpuSeconds) / report.events, latency: report.latency };
};

const joins = {
  key: "presence-join",
  group: "presence",
  redis: true,
  programs: [EVENT_CLIENTS],
  async measure(time, options) {
    return eachSystem(options, async (system) => {
      const bySize = {};
      for (const size of SIZES) bySize[size] = await measured(system, joining(size, options.seconds));
      return bySize;
    });
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const cost = (size) => {
      const name = `CPU of a join and a leave with presence, in a room of ${size.toLocaleString("en-US")}, with Redis`;
      const row = { key: this.key, name, systems, metric: (report) => report[size].cpuMs, unit: "ms", digits: 3 };
      const p99 = (system) => spread(rounds.map((round) => round[system][size].latency.p99Ms), decimal(2), " ms");
      return { ...summarise(row, rounds), details: [{ name: "p99, event to ack", cells: cells(systems, p99) }] };
    };
    const lines = SIZES.map(cost);
    const last = lines.at(-1);
    const growth = (system) => rounds.map((round) => round[system][MEMBERS].cpuMs / round[system][100].cpuMs);
    last.details.push({ name: "divided by that in a room of 100", cells: cells(systems, (system) => spread(growth(system), decimal(2), "×")) });
    last.wanted = `≤ ${MOST_GROWTH}× that of 100`;
    last.met = median(growth("rookery")) <= MOST_GROWTH;
    return lines;
  },
};

// The p99 of a quiet room of ten, alone or while 1,000 clients join a room at once, again and again.
const quietRoom = (time, seconds, joined) => async (server, keep) => {
  const args = [...time, "--clients", `${QUIET_MEMBERS}`, "--rate", "20", "--room", "quiet"];
  const quiet = keep(startGenerator("1", [server], args));
  const connections = () => readdirSync(`/proc/${server.pid}/fd`).length;
  await until("the quiet room", quiet.child, () => connections() >= QUIET_MEMBERS);
  if (!joined) return { p99: (await quiet.report()).latency.p99Ms };
  const events = [["join", { room: `${joined}-{k}` }]];
  const pace = ["--every", `${EVERY_S}`];
  const clients = keep(startEventClients("1", server, { clients: MEMBERS, events, pace, seconds }));
  const [{ latency }, joins] = await Promise.all([quiet.report(), clients.report()]);
  return { p99: latency.p99Ms, joins: joins.latency, perSecond: joins.events / joins.seconds };
};

const burst = {
  key: "presence-burst",
  group: "presence",
  redis: true,
  programs: [EVENT_CLIENTS],
  note:
    "While 1,000 clients join, the members of the quiet room share a core with them and with Redis: their times include " +
    "waiting for that core.",
  async measure(time, options) {
    return eachSystem(options, async (system) => {
      const run = (joined) => measured(system, quietRoom(time, options.seconds, joined));
      return { quiet: await run(), plain: await run("plain"), shown: await run("shown") };
    });
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const room = `p99 of a room of ${QUIET_MEMBERS}, 20 publications per second, with Redis`;
    const of = (name, when) => {
      const row = { key: this.key, name: `${room}, ${name}`, systems, metric: (report) => report[when].p99, unit: "ms", digits: 2 };
      return summarise(row, rounds);
    };
    const each = (number) => (system) => rounds.map((round) => number(round[system]));
    const delays = (when) => each((report) => report[when].p99 / report.quiet.p99);
    const detail = (name, cell) => ({ name, cells: cells(systems, cell) });
    const during = (name, when) => ({
      ...of(`while 1,000 clients join a room ${name} at once, each second`, when),
      details: [
        detail("divided by the p99 alone", (system) => spread(delays(when)(system), decimal(2), "×")),
        detail("p50 / p99, join to ack", (system) => {
          const [p50, p99] = ["p50Ms", "p99Ms"].map((key) => median(each((report) => report[when].joins[key])(system)));
          return `${decimal(1)(p50)} / ${decimal(1)(p99)} ms`;
        }),
        detail("joins per second", (system) => spread(each((report) => report[when].perSecond)(system), decimal(0))),
      ],
    });
    const wanted = `≤ ${MOST_DELAYED}× the p99 alone`;
    const met = median(delays("shown")("rookery")) <= MOST_DELAYED;
    return [of("alone", "quiet"), during("without presence", "plain"), { ...during("with presence", "shown"), wanted, met }];
  },
};

export const PRESENCE = [joins, burst];
