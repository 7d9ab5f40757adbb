#!/usr/bin/env node
// Runs an example: Redis, two instances of Rookery and the example's backend, until Ctrl-C.
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const EXAMPLES = ["chat", "board", "notifications"];
const USAGE = `Usage: node examples/run.mjs EXAMPLE [--backend node|python] [--ports LIST]

Runs an example: Redis, two instances of Rookery, and a backend that also serves the page.

  EXAMPLE           ${EXAMPLES.join(", ")}
  --backend         the language of the backend: node (the default) or python
  --ports           of the backend, of each instance's clients and API, and of Redis
                    (4000,3000,9090,3001,9091,6390)

It needs redis-server; the binary is target/debug/rookery, or $ROOKERY_BIN.
Python's backend of notifications needs the package redis; the interpreter is python3, or $PYTHON.

Example: node examples/run.mjs chat --backend python`;

/** Prints why it does not go on, and ends. */
function fail(message) {
  console.error(message);
  process.exit(2);
}

function asked() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        backend: { type: "string", default: "node" },
        ports: { type: "string", default: "4000,3000,9090,3001,9091,6390" },
        help: { type: "boolean", short: "h" },
      },
    });
    const ports = values.ports.split(",").map(Number);
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    if (positionals.length !== 1 || !EXAMPLES.includes(positionals[0])) fail(USAGE);
    if (!["node", "python"].includes(values.backend)) fail(`--backend is node or python, not ${values.backend}`);
    if (ports.length !== 6 || !ports.every(Number.isInteger)) fail("--ports takes six numbers, as in --help");
    return { example: positionals[0], backend: values.backend, ports };
  } catch (error) {
    fail(`${error.message}\n\n${USAGE}`);
  }
}

/** Runs a command to its end, or fails with what to do. */
function must(command, options, hint) {
  const { status, error } = spawnSync(command[0], command.slice(1), { stdio: "inherit", ...options });
  if (error ?? status !== 0) fail(`\`${command.join(" ")}\` failed. ${hint}`);
}

/** The binary, built if there is none yet. */
function binary() {
  if (process.env.ROOKERY_BIN) return process.env.ROOKERY_BIN;
  const root = path.dirname(HERE);
  const built = path.join(root, "target/debug/rookery");
  if (!existsSync(built)) must(["cargo", "build", "--locked", "--bin", "rookery"], { cwd: root }, "Install rustup first.");
  return built;
}

/** Keys for this machine only, made once. */
function makeKeys() {
  const folder = path.join(HERE, "keys");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const secret = () => randomBytes(48).toString("base64url");
  for (const [name, text] of [
    ["jwt.secret", secret()],
    ["hook.key", secret()],
    ["api.keys", `backend:${secret()}`],
  ]) {
    const file = path.join(folder, name);
    if (!existsSync(file)) writeFileSync(file, `${text}\n`, { mode: 0o600 });
  }
}

const { example, backend, ports } = asked();
const [backendPort, ...others] = ports;
const instances = [others.slice(0, 2), others.slice(2, 4)];
const redisPort = others[4];
const folder = path.join(HERE, example);

if (!existsSync(path.join(HERE, "node_modules/socket.io-client"))) {
  must(["npm", "ci"], { cwd: HERE }, "The page needs the stock client from npm.");
}
makeKeys();

const children = [];
let ending = false;

/** Starts a program whose end is everybody's end. */
function start(name, command, options = {}) {
  const child = spawn(command[0], command.slice(1), { cwd: folder, stdio: ["ignore", "inherit", "inherit"], ...options });
  child.once("error", (error) => end(`${name} could not be started: ${error.message}`));
  child.once("exit", (status) => end(`${name} has ended with ${status}`));
  children.push(child);
}

function end(why) {
  if (ending) return;
  ending = true;
  if (why) console.error(why);
  for (const child of children) child.kill("SIGKILL");
  rmSync(configuration, { force: true });
  process.exit(why ? 1 : 0);
}

/** Waits until something listens. */
async function listening(port) {
  for (;;) {
    const open = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (open) return;
    await pause(50);
  }
}

// The example's own file, with the ports of this run.
const configuration = path.join(folder, `.rookery.${backendPort}.yaml`);
const written = readFileSync(path.join(folder, "rookery.yaml"), "utf8");
writeFileSync(configuration, written.replaceAll("127.0.0.1:4000", `127.0.0.1:${backendPort}`).replaceAll(":6390", `:${redisPort}`));
process.once("SIGINT", () => end());
process.once("SIGTERM", () => end());

const redis = ["--port", redisPort, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
start("redis-server", ["redis-server", ...redis.map(String)], { stdio: ["ignore", "ignore", "inherit"] });
await listening(redisPort);
for (const [clients, internal] of instances) {
  const listen = ["--listen", `127.0.0.1:${clients}`, "--internal", `127.0.0.1:${internal}`];
  start("rookery", [binary(), "serve", "--config", configuration, ...listen], {
    env: { ...process.env, RUST_LOG: process.env.RUST_LOG ?? "warn" },
  });
}
const [program, file] = backend === "node" ? [process.execPath, "backend.mjs"] : [process.env.PYTHON ?? "python3", "backend.py"];
start("the backend", [program, file], {
  env: {
    ...process.env,
    PORT: String(backendPort),
    REDIS: `redis://127.0.0.1:${redisPort}`,
    ROOKERY_API: `http://127.0.0.1:${instances[0][1]}`,
  },
});
await Promise.all([backendPort, instances[0][0], instances[1][0]].map(listening));
console.log(`${example} is running. Open a page on each instance:`);
for (const [[clients], name] of [[instances[0], "Ada"], [instances[1], "Grace"]]) {
  console.log(`  http://localhost:${backendPort}/?server=http://localhost:${clients}&name=${name}`);
}
console.log("Ctrl-C stops it.");
