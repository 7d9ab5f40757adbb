// What takes more than one load: a second shard, the cost of measuring latency, of a scrape and of room
// rules, events through the hook, joins with presence, what crosses Redis and what does not, probes during
// a flood of Redis messages, memory, a storm of connects.
// Each entry measures once per round, and summarises all rounds in lines of the table.

import { decimal, median, spread } from "./draw.mjs";
import { FAN_OUT } from "./fan_out.mjs";
import { FLOOD } from "./flood.mjs";
import { hook } from "./hook.mjs";
import { MEMORY } from "./memory.mjs";
import { PRESENCE } from "./presence.mjs";
import { ROWS } from "./rows.mjs";
import { rules } from "./rules.mjs";
import { CORES, MEASURED, UNMEASURED, generate, openFiles, start } from "./servers.mjs";
import { storm } from "./storm.mjs";

const argsOf = (key) => ROWS.find((row) => row.key === key).args;

/** Runs a row's load against a server with these options; returns the report. */
async function under(row, time, options) {
  const server = await start.rookery({ cores: "0", ...options });
  try {
    return await generate("1", [server], [...time, ...argsOf(row)]);
  } finally {
    await server.stop();
  }
}

function line(key, name, wanted, met) {
  return { row: { key, name, systems: [] }, values: {}, ratio: NaN, wanted, met };
}

// The throughput of two shards on two cores, compared with one shard on one core. With four cores or
// more, two generators have cores of their own, and deliveries are compared. With fewer, the generator
// shares the second shard's core, so the throughput is computed from the cost of a delivery.
const shards = {
  key: "shards",
  target: 1.7,
  async measure(time) {
    const capacity = async (count) => {
      const server = await start.rookery({ cores: count === 1 ? "0" : "0,1", shards: count });
      try {
        if (CORES < 4) {
          const report = await generate("1", [server], [...time, ...argsOf("hot-4")]);
          return count * report.deliveriesPerCpuSecond;
        }
        const reports = await Promise.all(
          ["2", "3"].map((core) => generate(core, [server], [...time, ...argsOf("hot-4"), "--room", `core-${core}`])),
        );
        return reports.reduce((sum, report) => sum + report.deliveriesPerSecond, 0);
      } finally {
        await server.stop();
      }
    };
    const one = await capacity(1);
    return (await capacity(2)) / one;
  },
  line(rounds) {
    const ratio = median(rounds);
    const how = CORES < 4 ? "computed from the cost of a delivery" : "deliveries per second";
    const text = `two shards against one, ${how}: ${spread(rounds, decimal(2), "×")}`;
    return line(this.key, text, `${this.target}×`, ratio >= this.target);
  },
};

// The CPU time of a delivery whose latency is measured (sampleEvery: 1, the default), compared with a
// build that only counts deliveries. Both alternate, so that a slow phase of the machine affects both.
const cost = (row, name) => ({
  key: `latency-${row}`,
  target: 1.03,
  unmeasured: true,
  async measure(time) {
    const of = async (program) => (await under(row, time, { program })).deliveriesPerCpuSecond;
    const [none, every] = [await of(UNMEASURED), await of(MEASURED)];
    const [again, none2] = [await of(MEASURED), await of(UNMEASURED)];
    return (none + none2) / (every + again);
  },
  line(rounds) {
    const ratio = median(rounds);
    const text = `CPU time of a delivery, all measured against none, ${name}: ${spread(rounds, decimal(3), "×")}`;
    return line(this.key, text, `≤ ${this.target}×`, ratio <= this.target);
  },
});

// Scrapes a server under load, with as many connections and rooms as the limit of open files allows:
// how long a scrape takes, and how much it delays deliveries.
const scrape = {
  key: "scrape",
  most: 50,
  delay: 1.25,
  async measure(time) {
    const clients = Math.min(50_000, 1000 * Math.floor((openFiles() - 1000) / 1000));
    const rooms = Math.min(20_000, clients);
    const args = ["--clients", `${clients}`, "--rooms", `${rooms}`, "--rate", "2000", ...time];
    const run = async (scraping) => {
      const server = await start.rookery({ cores: "0", more: "latency: { topRooms: 50 }" });
      const took = [];
      let going = scraping;
      const scraper = (async () => {
        while (going) {
          const began = performance.now();
          const answer = await fetch(`${server.internal}/metrics`);
          await answer.text();
          took.push(performance.now() - began);
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
      })();
      try {
        const report = await generate("1", [server], args);
        going = false;
        await scraper;
        return { took, p99: report.latency.p99Ms };
      } finally {
        going = false;
        await server.stop();
      }
    };
    const [quiet, scraped] = [await run(false), await run(true)];
    return { clients, rooms, took: scraped.took, quiet: quiet.p99, scraped: scraped.p99 };
  },
  line(rounds) {
    const [{ clients, rooms }] = rounds;
    const took = rounds.flatMap((round) => round.took).sort((a, b) => a - b);
    const [middle, high] = [median(took), took[Math.floor(took.length * 0.99)]];
    const p99 = (key) => median(rounds.map((round) => round[key])).toFixed(1);
    const count = (n) => n.toLocaleString("en-US");
    const text =
      `a scrape with ${count(clients)} connections in ${count(rooms)} rooms, 2,000 publications per second: ` +
      `${middle.toFixed(1)} ms, p99 ${high.toFixed(1)} ms; p99 of deliveries ${p99("scraped")} ms, ` +
      `without scrapes ${p99("quiet")} ms`;
    const delayed = median(rounds.map((round) => round.scraped / round.quiet));
    const met = high < this.most && delayed < this.delay;
    return line(this.key, text, `p99 < ${this.most} ms, deliveries' p99 < ${this.delay}×`, met);
  },
};

export const OWN = [
  shards,
  cost("hot-4", "one room of 1,000, 4 in flight"),
  cost("hot-16", "16 in flight"),
  cost("rooms", "100 rooms of ten"),
  rules,
  hook,
  ...PRESENCE,
  ...FAN_OUT,
  ...MEMORY,
  storm,
  scrape,
  ...FLOOD,
];
