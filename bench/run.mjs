// Measures Rookery against a Node Socket.IO server and a bare epoll loop, and writes the table and
// the chart to bench/results/. Needs Linux, Node 20, taskset, cargo; redis-server for one row.
//
//   node bench/run.mjs [--rounds 5] [--seconds 10] [--only hot-4,rooms] [--no-build] [--check]
//
// Every server is pinned to core 0, the generator (and Redis) to core 1. Within a round, each row is
// measured for every system in turn, each time with a new server; a ratio is the median of the rounds'
// ratios. With --check the exit code is 1 when a target is missed.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { parseArgs } from "node:util";

import { picture, summarise, table } from "./draw.mjs";
import { OWN } from "./own.mjs";
import { ROWS } from "./rows.mjs";
import { ROOT, generate, start, startRedis } from "./servers.mjs";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "10" },
    only: { type: "string" },
    "no-build": { type: "boolean", default: false },
    check: { type: "boolean", default: false },
  },
});
const rounds = Number(options.rounds);
const time = ["--duration", `${Number(options.seconds)}s`, "--warmup", "2s"];
const cores = availableParallelism();
const wanted = (row) => !options.only || options.only.split(",").includes(row.key);
const present = (program) => spawnSync(program, ["--version"]).status === 0;
const say = (text) => process.stderr.write(`${text}\n`);

if (cores < 2) throw new Error("the benchmark needs two cores: one for the server, one for the generator");
if (!present("taskset")) throw new Error("the benchmark needs taskset: install util-linux");
if (!options["no-build"]) build();

const notes = [];
const rows = ROWS.filter(wanted).filter((row) => {
  if (!row.instances || present("redis-server")) return true;
  notes.push(`Not measured, because redis-server is missing: ${row.name}.`);
  return false;
});
const lines = await measureAll();
if (lines.length === 0) throw new Error("nothing was measured");
write(lines);
if (options.check && lines.some((line) => !line.met)) process.exitCode = 1;

function build() {
  const run = (program, args) => execFileSync(program, args, { cwd: ROOT, stdio: "inherit" });
  run("cargo", ["build", "--release", "--bin", "rookery", "--example", "bare_loop"]);
  if (OWN.some((one) => one.unmeasured && wanted(one))) {
    const apart = ["--features", "unmeasured", "--target-dir", "target/unmeasured"];
    run("cargo", ["build", "--release", "--bin", "rookery", ...apart]);
  }
  if (!existsSync(new URL("node_modules", import.meta.url))) run("npm", ["ci", "--prefix", "bench"]);
}

async function measureAll() {
  const measured = new Map(rows.map((row) => [row, []]));
  const own = new Map(OWN.filter(wanted).map((one) => [one, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const row of rows) {
      const reports = {};
      for (const system of row.systems) {
        reports[system] = await measure(row, system);
        say(`round ${round}, ${row.key}, ${system}: ${Math.round(row.metric(reports[system]))}`);
      }
      measured.get(row).push(reports);
    }
    for (const [one, measured] of own) {
      measured.push(await one.measure(time));
      say(`round ${round}, ${one.line(measured).row.name}`);
    }
  }
  return [
    ...rows.map((row) => summarise(row, measured.get(row))),
    ...[...own].map(([one, measured]) => one.line(measured)),
  ];
}

// Measures one system under one row's load.
async function measure(row, system) {
  const redis = row.instances ? await startRedis("1") : undefined;
  const servers = [];
  try {
    for (let i = 0; i < (row.instances ?? 1); i++) {
      servers.push(await start[system]({ cores: "0", redis: redis?.url }));
    }
    return await generate("1", servers, [...time, ...row.args]);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    await redis?.stop();
  }
}

function write(lines) {
  const rookery = execFileSync("target/release/rookery", ["--version"], { cwd: ROOT, encoding: "utf8" }).trim();
  const socketio = JSON.parse(readFileSync(new URL("node_modules/socket.io/package.json", import.meta.url)));
  const facts = {
    date: new Date().toISOString().slice(0, 10),
    versions: `${rookery}, Node ${process.versions.node}, socket.io ${socketio.version}`,
    machine: `${cpus()[0].model.trim()}, ${cores} cores, Linux ${release()}`,
    method: `${rounds} rounds of ${options.seconds} s; medians.`,
    notes,
  };
  const results = new URL("results/", import.meta.url);
  mkdirSync(results, { recursive: true });
  const markdown = table(lines, facts);
  writeFileSync(new URL("README.md", results), markdown);
  if (lines.some((line) => Number.isFinite(line.values.rookery) && !line.row.unit)) {
    writeFileSync(new URL("deliveries.svg", results), picture(lines, facts));
  }
  process.stdout.write(`${markdown}\n`);
}
