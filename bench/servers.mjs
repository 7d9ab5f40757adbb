// Starts and stops the servers that are measured.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { options } from "./options.mjs";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const CORES = availableParallelism();
const START_MS = 20_000;

/** The binary of the image, or the one given to measure instead. */
export const MEASURED = options.binary ?? "target/image/rookery";
/** A server that counts deliveries without measuring their latency. */
export const UNMEASURED = "target/unmeasured/image/rookery";
const example = (name) => join(options.examples ?? "target/image/examples", name);
export const BARE_LOOP = example("bare_loop");
export const BARE_HANDLER = example("bare_handler");
export const HTTP_PUBLISHER = example("http_publisher");
export const EVENT_CLIENTS = example("event_clients");
export const BARE_HOP = example("bare_hop");

/** Runs a program on these cores, with as many open files as the system allows, in this cgroup. */
export function pinned(cores, program, args, cgroup) {
  const enter = cgroup ? `echo $$ >'${cgroup}/cgroup.procs' && ` : "";
  const script = `${enter}ulimit -n "$(ulimit -Hn)"; exec taskset -c "$0" "$@"`;
  const child = spawn("sh", ["-c", script, cores, program, ...args], {
    cwd: ROOT,
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.output = "";
  child.stdout.on("data", (data) => (child.output = (child.output + data).slice(-10_000)));
  child.stderr.on("data", (data) => (child.output = (child.output + data).slice(-10_000)));
  return child;
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Waits until a program is ready. */
export async function until(what, child, ready) {
  const deadline = Date.now() + START_MS;
  while (!(await ready())) {
    if (child.exitCode !== null) throw new Error(`${what} exited: ${child.output}`);
    if (Date.now() > deadline) throw new Error(`${what} did not start: ${child.output}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Kills a program. */
export async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

// The generator's clients share one address and publish as fast as they can.
const OUT_OF_REACH =
  "limits: { connections: 50000, connectRate: 100000/s, eventsPerSecond: 1000000, bytesPerSecond: 4095MiB, queue: 256MiB }";
const config = (port, internal, { redis, wire = "classic", jwt, more, limits = OUT_OF_REACH }) => `
listen: 127.0.0.1:${port}
internal: 127.0.0.1:${internal}
${limits}
${redis ? `redis: { url: "${redis}", wire: ${wire} }` : ""}
${jwt ? `auth: { jwt: { algorithms: [${jwt.algorithm}], ${keyField(jwt)}: "${jwt.keyFile}" } }` : ""}
${more ?? ""}
`;
const keyField = ({ algorithm }) => (algorithm === "HS256" ? "secretFile" : "publicKeyFile");

async function startRookery({ cores, shards = 1, program = MEASURED, cgroup, ...settings }) {
  const [port, internal] = [await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), "rookery-bench-"));
  const file = join(folder, "rookery.yaml");
  writeFileSync(file, config(port, internal, settings));
  const child = pinned(cores, program, ["serve", "--config", file, "--shards", `${shards}`], cgroup);
  child.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  await until("rookery", child, () =>
    fetch(`http://127.0.0.1:${internal}/readyz`).then((answer) => answer.ok, () => false),
  );
  const [url, api] = [port, internal].map((port) => `http://127.0.0.1:${port}`);
  return { url, api, internal: api, pid: child.pid, stop: () => stop(child) };
}

/** The number of files that a server may have open; Infinity: any. */
export const openFiles = () => Number(execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" })) || Infinity;

async function startNode({ cores, redis, wire, jwt, nodeArgs = [] }) {
  const port = await freePort();
  const args = ["--expose-gc", "bench/node-server.mjs", "--port", `${port}`, ...nodeArgs];
  if (redis) args.push("--redis", redis, "--wire", wire ?? "classic");
  if (jwt) args.push("--jwt", jwt.algorithm, "--key", jwt.keyFile);
  return listening("the Node server", port, pinned(cores, process.execPath, args));
}

async function startExample(what, cores, program) {
  const port = await freePort();
  return listening(what, port, pinned(cores, program, [`127.0.0.1:${port}`]));
}

// A server that prints a line when it listens, with its HTTP API on the same port.
async function listening(what, port, child) {
  await until(what, child, () => child.output.includes("listening"));
  const url = `http://127.0.0.1:${port}`;
  return { url, api: url, pid: child.pid, stop: () => stop(child) };
}

const startBare = ({ cores }) => startExample("the bare loop", cores, BARE_LOOP);
const startHandler = ({ cores }) => startExample("the bare handler", cores, BARE_HANDLER);

// Centrifugo, whose clients' RPCs go to a backend.
async function startCentrifugo({ cores, backend }) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "rookery-bench-"));
  const file = join(folder, "config.json");
  const settings = {
    http_server: { address: "127.0.0.1", port },
    client: { insecure: true },
    rpc: { proxy: { endpoint: backend, timeout: "5s" }, without_namespace: { proxy_enabled: true } },
    health: { enabled: true },
    log: { level: "error" },
  };
  writeFileSync(file, JSON.stringify(settings));
  const child = pinned(cores, "centrifugo", ["--config", file]);
  child.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const url = `http://127.0.0.1:${port}`;
  await until("centrifugo", child, () => fetch(`${url}/health`).then((answer) => answer.ok, () => false));
  return { url, pid: child.pid, stop: () => stop(child) };
}

const startBefore = (how) => startRookery({ ...how, program: options.against });

export const start = {
  rookery: startRookery,
  before: startBefore,
  node: startNode,
  bare: startBare,
  handler: startHandler,
  centrifugo: startCentrifugo,
};

/** Starts a script of this folder. Its report is the JSON that it prints before it exits. */
export function startScript(cores, script, args) {
  const child = pinned(cores, process.execPath, [join("bench", script), ...args]);
  const report = async () => {
    await once(child, "close");
    if (child.exitCode !== 0) throw new Error(`${script} failed: ${child.output}`);
    return JSON.parse(child.output);
  };
  return { child, report, stop: () => stop(child) };
}

/** Starts members of rooms, and waits until all have joined. */
export async function openMembers(cores, server, { rooms, members, room = "flood" }) {
  const counts = ["--rooms", `${rooms}`, "--members", `${members}`];
  const script = startScript(cores, "members.mjs", ["--url", server.url, "--room", room, ...counts]);
  await until("the members", script.child, () => script.child.output.includes("joined"));
  return script;
}

/**
 * Starts the generator. Its report is what it writes before it exits. Members are at all `servers`, or at those of
 * `membersAt` alone; they publish, or clients in no room do at the server `publishAt`.
 */
export function startGenerator(cores, servers, args, { connectRate = 2000, membersAt = servers, publishAt } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "rookery-bench-"));
  const file = join(folder, "report.json");
  const child = pinned(cores, MEASURED, [
    "bench",
    ...membersAt.flatMap((server) => ["--url", server.url]),
    ...(publishAt ? ["--publish-at", publishAt.url] : []),
    ...["--pids", servers.map((server) => server.pid).join(",")],
    ...["--connect-rate", `${connectRate}`, "--json", file],
    ...args,
  ]);
  const exited = once(child, "exit");
  const report = async () => {
    await exited;
    try {
      if (child.exitCode !== 0) throw new Error(`the generator failed: ${child.output}`);
      return JSON.parse(readFileSync(file, "utf8"));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
  return { child, report, stop: () => stop(child) };
}

/** Runs the generator and returns its report. */
export const generate = (cores, servers, args, how) => startGenerator(cores, servers, args, how).report();

/** Runs the generator of HTTP requests and returns its report. */
export async function publishOverHttp(cores, server, { path, body, http2, inflight = 16, seconds }) {
  const child = pinned(cores, HTTP_PUBLISHER, [
    ...["--url", `${server.api}${path}`, "--pid", `${server.pid}`, "--inflight", `${inflight}`],
    ...["--body", JSON.stringify(body), "--duration", `${seconds}`],
    ...(http2 ? ["--http2"] : []),
  ]);
  await once(child, "close");
  if (child.exitCode !== 0) throw new Error(`the HTTP generator failed: ${child.output}`);
  return JSON.parse(child.output);
}

/**
 * Starts clients that send events with acks. `pace`: with a rate, or all together again and again; without one,
 * each sends when it was answered.
 */
export function startEventClients(cores, server, { clients, events, pace = [], backend, centrifugo, seconds }) {
  const child = pinned(cores, EVENT_CLIENTS, [
    ...["--url", server.url, "--pid", `${server.pid}`, "--clients", `${clients}`, "--duration", `${seconds}`],
    ...events.flatMap((event) => ["--event", JSON.stringify(event)]),
    ...(backend ? ["--backend-pid", `${backend.pid}`] : []),
    ...(centrifugo ? ["--centrifugo"] : []),
    ...pace,
  ]);
  const closed = once(child, "close");
  const report = async () => {
    await closed;
    if (child.exitCode !== 0) throw new Error(`the clients failed: ${child.output}`);
    const report = JSON.parse(child.output);
    return { ...report, eventsPerCpuSecond: report.events / report.serverCpuSeconds };
  };
  return { child, report, stop: () => stop(child) };
}
