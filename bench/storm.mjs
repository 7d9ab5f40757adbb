// How much a storm of connects delays a quiet room.

import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { decimal, median, spread, summarise } from "./draw.mjs";
import { openFiles, start, startGenerator, until } from "./servers.mjs";

const MEMBERS = 100;
const WARMUP_S = 2;
// 50,000 clients that come back within 30 s onto two cores.
const CONNECTS_PER_SECOND = 833;
const TARGET = 3;

// Runs the quiet room, with or without the storm, and returns the report of its clients.
async function run(system, time, seconds, stormy) {
  const server = await start[system]({ cores: "0" });
  const started = [];
  const generator = (args, how) => {
    started.push(startGenerator("1", [server], args, how));
    return started.at(-1);
  };
  const connections = () => readdirSync(`/proc/${server.pid}/fd`).length;
  try {
    const quiet = generator([...time, "--clients", `${MEMBERS}`, "--rate", "20", "--room", "quiet"]);
    await until("the quiet room", quiet.child, () => connections() >= MEMBERS);
    const most = openFiles() - 1000;
    const clients = Math.min(most, CONNECTS_PER_SECOND * (WARMUP_S + seconds + 2));
    const args = ["--idle", "--clients", `${clients}`, "--rooms", "100", "--room", "storm", "--warmup", "1h"];
    const storm = stormy && generator(args, { connectRate: CONNECTS_PER_SECOND });
    await sleep(WARMUP_S * 1000);
    const [began, from] = [performance.now(), connections()];
    const report = await quiet.report();
    const connects = ((connections() - from) * 1000) / (performance.now() - began);
    if (storm && storm.child.exitCode !== null) throw new Error(`the storm ended: ${storm.child.output}`);
    return { p99: report.latency.p99Ms, connects };
  } finally {
    for (const one of started) await one.stop();
    await server.stop();
  }
}

export const storm = {
  key: "storm",
  note: "During the storm of connects, the members of the quiet room share a core with the clients that connect: their times include waiting for that core.",
  async measure(time, { seconds, against }) {
    const measured = {};
    for (const system of ["rookery", ...(against ? ["before"] : []), "node"]) {
      const quiet = await run(system, time, seconds, false);
      measured[system] = { quiet, stormy: await run(system, time, seconds, true) };
    }
    return measured;
  },
  line(rounds) {
    const systems = Object.keys(rounds[0]);
    const room = `p99 of a room of ${MEMBERS}, 20 publications per second`;
    const row = (name, metric) => ({ key: this.key, name, systems, metric, unit: "ms", digits: 2 });
    const quiet = summarise(row(`${room}, alone`, (report) => report.quiet.p99), rounds);
    const stormy = summarise(
      row(`${room}, during ${CONNECTS_PER_SECOND} connects per second`, (report) => report.stormy.p99),
      rounds,
    );
    const delays = (system) => rounds.map((round) => round[system].stormy.p99 / round[system].quiet.p99);
    const cells = (of) => Object.fromEntries(systems.map((system) => [system, of(system)]));
    const connects = (system) => rounds.map((round) => round[system].stormy.connects);
    const details = [
      { name: "divided by the p99 alone", cells: cells((system) => spread(delays(system), decimal(2), "×")) },
      { name: "connects per second reached", cells: cells((system) => spread(connects(system), decimal(0))) },
    ];
    const met = median(delays("rookery")) <= TARGET;
    return [quiet, { ...stormy, details, wanted: `≤ ${TARGET}× the p99 alone`, met }];
  },
};
