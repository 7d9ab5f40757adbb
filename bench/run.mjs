// Measures Rookery against a Node Socket.IO server and a bare epoll loop, and writes the table and
// the charts to bench/results/; what swarms of hostile clients can take goes to hostile.md there.
// Needs Linux, Node 20, taskset, cargo; redis-server and redis-cli for some rows.
//
//   node bench/run.mjs [--rounds 5] [--seconds 10] [--only hot-4,rooms] [--no-build] [--check]
//                      [--binary PATH] [--against PATH] [--examples FOLDER] [--out FOLDER]
//
// Every server is pinned to core 0, the generator (and Redis) to core 1. Within a round, each row is
// measured for every system in turn, each time with a new server; a ratio is the median of the rounds'
// ratios. The exit code is 1 when a measurement failed and, with --check, when a target is missed.
//
// --binary (or ROOKERY_BENCH_BINARY) measures that binary instead of building the image's. --against
// measures a second Rookery binary in turn, as "before". --examples has the bare loop and the like
// elsewhere than where the image's profile builds them.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { basename, join, resolve } from "node:path";

import { curves, hasBars, picture, summarise, table } from "./draw.mjs";
import { SWARMS, hostile } from "./hostile.mjs";
import { load } from "./http.mjs";
import { options } from "./options.mjs";
import { OWN } from "./own.mjs";
import { startCluster, startRedis } from "./redis.mjs";
import { ROWS, SYSTEMS, bareOf } from "./rows.mjs";
import { CORES, MEASURED, ROOT, UNMEASURED, generate, openFiles, start, startEventClients } from "./servers.mjs";
import { credentials } from "./tokens.mjs";

const { rounds, seconds, wanted, against } = options;
// The clients of the rows of events.
const CLIENTS = 1000;
const time = ["--duration", `${seconds}s`, "--warmup", "2s"];
const present = (program) => spawnSync(program, ["--version"]).status === 0;
const built = (program) => existsSync(resolve(ROOT, program));
// Files that a server has open besides its clients' connections.
const SPARE_FILES = 200;
// The share of its core from which the generator may be what limits the load.
const SATURATED = 0.95;
const BUSY = "The generator used its whole core, and the server may have waited for it:";
const say = (text) => process.stderr.write(`${text}\n`);

if (CORES < 2) throw new Error("the benchmark needs two cores: one for the server, one for the generator");
if (!present("taskset")) throw new Error("the benchmark needs taskset: install util-linux");
if (options.build) build();

const notes = [];
const saturated = new Set();
const rows = ROWS.filter(wanted).filter(measurable).map(withSystems);
const own = OWN.filter(wanted).filter(measurable);
notes.push(...new Set(own.flatMap((one) => one.note ?? [])));
const swarms = SWARMS.filter(wanted);
if (rows.length + own.length + swarms.length === 0) throw new Error("nothing was measured");
const lines = rows.length + own.length > 0 ? await measureAll() : [];
mkdirSync(options.out, { recursive: true });
if (swarms.length > 0 && !(await hostile(swarms, options, say))) process.exitCode = 1;
if (options.check && lines.some((line) => !line.met)) process.exitCode = 1;

// Whether what a row needs is installed and built; notes what is missing.
function measurable(row) {
  const missing = [];
  if ((row.instances || row.redis) && !present("redis-server")) missing.push("redis-server");
  if (row.cluster && !present("redis-cli")) missing.push("redis-cli");
  if (row.unmeasured && !built(UNMEASURED)) missing.push(UNMEASURED);
  missing.push(...(row.programs ?? []).filter((program) => !built(program)));
  if (row.clients + SPARE_FILES > openFiles()) missing.push(`a limit of ${row.clients + SPARE_FILES} open files`);
  if (missing.length > 0) notes.push(`Not measured, because ${missing[0]} is missing: ${row.name ?? row.key}.`);
  return missing.length === 0;
}

// The row with the systems that are measured in it.
function withSystems(row) {
  const { program } = bareOf(row);
  const systems = row.systems.filter((system) => system !== "bare" || built(program));
  const note = `Not measured, because it is missing: ${program}.`;
  if (systems.length < row.systems.length && !notes.includes(note)) notes.push(note);
  return { ...row, systems: against ? ["rookery", "before", ...systems.slice(1)] : systems };
}

function build() {
  const run = (program, args) => execFileSync(program, args, { cwd: ROOT, stdio: "inherit" });
  const cargo = (...args) => run("cargo", ["build", "--profile", "image", ...args]);
  const targets = options.binary ? [] : ["--bin", "rookery"];
  const bare = ROWS.filter(wanted).filter((row) => row.systems.includes("bare"));
  const examples = new Set(bare.map((row) => basename(bareOf(row).program)));
  const loads = [...ROWS, ...OWN].filter(wanted).flatMap((one) => one.programs ?? []);
  loads.forEach((program) => examples.add(basename(program)));
  if (!options.examples) targets.push(...[...examples].flatMap((name) => ["--example", name]));
  if (targets.length > 0) cargo(...targets);
  if (OWN.some((one) => one.unmeasured && wanted(one))) {
    cargo("--bin", "rookery", "--features", "unmeasured", "--target-dir", "target/unmeasured");
  }
  if (!existsSync(new URL("node_modules", import.meta.url))) run("npm", ["ci", "--prefix", "bench"]);
}

// Measures all rounds, and writes the results after each: a later one may fail.
async function measureAll() {
  const measured = new Map([...rows, ...own].map((row) => [row, []]));
  let lines = [];
  for (let round = 1; round <= rounds; round++) {
    for (const row of rows) measured.get(row).push(await measureRow(row, round));
    for (const one of own) {
      const report = await noted(`round ${round}, ${one.key}`, () => one.measure(time, options));
      if (!report) continue;
      measured.get(one).push(report);
      for (const line of [one.line(measured.get(one))].flat()) sayLine(round, line);
    }
    lines = [
      ...rows.map((row) => summarise(row, measured.get(row))),
      ...own.filter((one) => measured.get(one).length > 0).flatMap((one) => one.line(measured.get(one))),
    ];
    const markdown = write(lines, round);
    if (round === rounds) process.stdout.write(`${markdown}\n`);
  }
  return lines;
}

// Measures every system of a row: each second round in the opposite order, so that none always runs first.
async function measureRow(row, round) {
  const reports = {};
  for (const system of round % 2 ? row.systems : row.systems.toReversed()) {
    reports[system] = await noted(`round ${round}, ${row.key}, ${system}`, () => measure(row, system));
    if (reports[system]?.generatorCpu > SATURATED) saturated.add(`${row.name} (${SYSTEMS[system].split(",")[0]})`);
    const value = reports[system] && row.metric(reports[system]);
    say(`round ${round}, ${row.key}, ${system}: ${value?.toFixed(row.digits ?? 0) ?? "not measured"}`);
  }
  return reports;
}

// What `measure` returns. A failure is noted in the results and in the exit code, and the run goes on.
async function noted(what, measure) {
  try {
    return await measure();
  } catch (error) {
    notes.push(`Failed in ${what}: ${error.message.trim().replace(/\s+/g, " ")}.`);
    say(notes.at(-1));
    process.exitCode = 1;
    return undefined;
  }
}

function sayLine(round, { row, values, details = [] }) {
  const medians = Object.entries(values).map(([system, value]) => `${system}: ${value.toFixed(row.digits ?? 0)}`);
  say([`round ${round}, ${row.name}`, ...medians, ...details.map(describe)].join("\n  "));
}

function describe({ name, cells }) {
  return `${name}: ${Object.entries(cells).map(([system, cell]) => `${system} ${cell}`).join("; ")}`;
}

// Measures one system under one row's load; undefined where the system cannot carry it.
async function measure(row, system) {
  const redis = row.instances ? await (row.cluster ? startCluster : startRedis)("1") : undefined;
  const jwt = row.token && credentials(row.token);
  const servers = [];
  try {
    for (let i = 0; i < (row.instances ?? 1); i++) {
      const server = start[system === "bare" ? bareOf(row).start : system];
      const { more, nodeArgs, wire } = row;
      servers.push(await server({ cores: "0", redis: redis?.url, wire, jwt, more, nodeArgs }));
    }
    if (row.http) return await load(row, servers[0], { system, seconds, notes });
    if (row.events) return await startEventClients("1", servers[0], { clients: CLIENTS, events: row.events, seconds }).report();
    const token = jwt ? ["--token", jwt.token] : [];
    const { connectRate, membersAt = Object.keys(servers), publishAt } = row;
    const places = { membersAt: membersAt.map((index) => servers[index]), publishAt: servers[publishAt] };
    return await generate("1", servers, [...(row.time ?? time), ...row.args, ...token], { connectRate, ...places });
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    await redis?.stop();
  }
}

// Writes the results of the first rounds; returns the table.
function write(lines, round) {
  const rookery = execFileSync(MEASURED, ["--version"], { cwd: ROOT, encoding: "utf8" }).trim();
  const socketio = JSON.parse(readFileSync(new URL("node_modules/socket.io/package.json", import.meta.url)));
  const facts = {
    date: new Date().toISOString().slice(0, 10),
    versions: `${rookery}, Node ${process.versions.node}, socket.io ${socketio.version}`,
    machine: `${cpus()[0].model.trim()}, ${CORES} cores, Linux ${release()}`,
    method: `${round} rounds of ${seconds} s; medians, with the range over the rounds.`,
    notes: [...notes, ...(saturated.size > 0 ? [`${BUSY} ${[...saturated].join("; ")}.`] : [])],
  };
  mkdirSync(options.out, { recursive: true });
  const markdown = table(lines, facts);
  writeFileSync(join(options.out, "README.md"), markdown);
  if (hasBars(lines)) writeFileSync(join(options.out, "deliveries.svg"), picture(lines, facts));
  if (lines.some((line) => line.row.curve)) writeFileSync(join(options.out, "scale.svg"), curves(lines, facts));
  return markdown;
}
