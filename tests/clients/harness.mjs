// What the tests start: Redis servers, Rookery instances, stock clients; and how they wait. Everything
// is stopped at the end of the test.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { io as io4 } from "sio4";
import { io as io3 } from "sio3";
import io2 from "sio2";

const here = path.dirname(fileURLToPath(import.meta.url));
const binary = process.env.ROOKERY_BIN ?? path.join(here, "../../target/debug/rookery");

/** How long any condition may take, in milliseconds. */
export const PATIENCE = 60_000;

/** Waits until `condition` returns a truthy value, and returns it. */
export async function until(what, condition, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) {
      throw new Error(`not within ${patience} ms: ${typeof what === "function" ? what() : what}`);
    }
    await pause(10);
  }
}

/** Pauses between two checks of a condition. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Resolves like `promise`, unless it takes too long. */
export async function within(what, promise, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${patience} ms: ${what}`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const ends = new WeakMap();

/** Registers a cleanup for the end of the test; cleanups run in reverse order. */
export function atEnd(t, action) {
  if (!ends.has(t)) {
    const actions = [];
    ends.set(t, actions);
    t.after(async () => {
      // One that fails leaves no process of the others behind, which the run would wait for.
      const problems = [];
      while (actions.length > 0) {
        try {
          await actions.pop()();
        } catch (error) {
          problems.push(error);
        }
      }
      if (problems.length > 0) throw new AggregateError(problems, problems.map(String).join("\n"));
    });
  }
  ends.get(t).push(action);
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** An empty directory, removed at the end of the test. */
export async function directory(t) {
  const made = await mkdtemp(path.join(tmpdir(), "rookery-"));
  // A process of a browser that was killed may still write to it.
  atEnd(t, () => rm(made, { recursive: true, force: true, maxRetries: 10 }));
  return made;
}

/** Resolves when a process has ended. */
function ended(child) {
  return child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", resolve));
}

async function kill(child) {
  child.kill("SIGKILL");
  await ended(child);
}

/** A Redis server without persistence. */
export class Redis {
  static async start(t) {
    const redis = new Redis();
    redis.directory = await directory(t);
    // If another process took the port in the meantime, try another one.
    for (let tries = 0; ; tries++) {
      redis.port = await freePort();
      try {
        await redis.run();
        break;
      } catch (error) {
        if (tries === 5) throw error;
      }
    }
    atEnd(t, () => kill(redis.child));
    return redis;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts it (again) on its port; resolves when it accepts connections. */
  async run() {
    const options = ["--port", this.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    options.push("--dir", this.directory);
    const child = spawn("redis-server", options.map(String), { stdio: ["ignore", "pipe", "inherit"] });
    this.child = child;
    await within(
      "redis-server is ready",
      new Promise((resolve, reject) => {
        child.once("error", reject);
        child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}`)));
        createInterface({ input: child.stdout }).on("line", (line) => {
          if (line.includes("Ready to accept connections")) resolve();
        });
      }),
    );
  }

  /** kill -9. */
  kill() {
    return kill(this.child);
  }
}

/** A running `rookery serve`. */
export class Instance {
  /** Starts an instance; `config` is its configuration, without the addresses. Rooms are open unless it says otherwise. */
  static async start(t, config = {}, { redis, shards = 2, log, internal = "127.0.0.1:0" } = {}) {
    const instance = new Instance();
    const file = path.join(await directory(t), "rookery.yaml");
    // JSON is YAML.
    await writeFile(file, JSON.stringify({ rooms: "open", ...config }));
    const args = ["serve", "--config", file, "--listen", "127.0.0.1:0", "--internal", internal];
    args.push("--shards", String(shards));
    if (redis) args.push("--redis", redis.url);
    const env = { PATH: process.env.PATH, ...(log ? { RUST_LOG: log } : {}) };
    const child = spawn(binary, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    instance.child = child;
    instance.lines = [];
    atEnd(t, () => kill(child));
    const announced = new Promise((resolve, reject) => {
      const read = (line) => {
        instance.lines.push(line);
        if (line.includes('"serving')) resolve(JSON.parse(line));
      };
      createInterface({ input: child.stdout }).on("line", read);
      createInterface({ input: child.stderr }).on("line", read);
      child.once("error", reject);
      child.once("exit", (code) => {
        reject(new Error(`rookery ended with ${code}:\n${instance.lines.join("\n")}`));
      });
    });
    const { clients, api, pod } = await within("rookery serves", announced);
    instance.url = new URL(clients).origin;
    instance.internal = new URL(api).origin;
    instance.pod = pod;
    if (redis) await instance.redisIs(1);
    return instance;
  }

  /** Waits until its link to Redis is up (1) or down (0). */
  redisIs(up, patience) {
    const what = () => `rookery_redis_up is ${up}\n${this.lines.join("\n")}`;
    return until(what, async () => (await this.metric("rookery_redis_up")) === up, patience);
  }

  /** A request to the HTTP API: {status, body}. */
  async api(method, route, body, headers = {}) {
    const response = await fetch(`${this.internal}${route}`, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  /** Publishes over HTTP; returns the response, which must be 200. */
  async publish(publication) {
    const { status, body } = await this.api("POST", "/api/publish", publication);
    if (status !== 200) throw new Error(`publish: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** The sum of a metric's series whose labels hold all of `labels`; 0 when there is none. */
  async metric(name, labels = {}) {
    const text = await (await fetch(`${this.internal}/metrics`)).text();
    let sum = 0;
    for (const line of text.split("\n")) {
      const [, found, inside, value] = /^([a-zA-Z_:]+)(?:\{(.*)\})? ([^ ]+)$/.exec(line) ?? [];
      if (found !== name) continue;
      if (Object.entries(labels).every(([k, v]) => (inside ?? "").includes(`${k}="${v}"`))) {
        sum += Number(value);
      }
    }
    return sum;
  }

  /** Resolves with its exit code. */
  async stopped() {
    await within("rookery stops", ended(this.child));
    return this.child.exitCode;
  }
}

/** Two instances that share a Redis server. */
export async function pair(t, config = {}) {
  const redis = await Redis.start(t);
  const [one, other] = await Promise.all([
    Instance.start(t, config, { redis }),
    Instance.start(t, config, { redis }),
  ]);
  return { redis, one, other };
}

const POLLING = ["polling"];
const WEBSOCKET = ["websocket"];
const UPGRADE = ["polling", "websocket"];

/** The stock JavaScript clients, each with each transport. */
export const KINDS = [io4, io3, io2].flatMap((io, index) =>
  [WEBSOCKET, POLLING, UPGRADE].map((transports) => {
    const version = 4 - index;
    return { name: `Socket.IO ${version}, ${transports.join(" then ")}`, version, io, transports };
  }),
);

/** One of them. */
export function kind(version, ...transports) {
  return KINDS.find((k) => k.version === version && String(k.transports) === String(transports));
}

/** A stock client that is connecting; it is closed when the test ends. */
export function connecting(t, { io, transports }, url, options = {}) {
  const socket = io(url, { transports, forceNew: true, ...options });
  atEnd(t, () => socket.close());
  return socket;
}

/**
 * A stock client that is connected, and upgraded if it is of the kind that upgrades, unless
 * `awaitUpgrade` is false.
 */
export async function connected(t, which, url, { awaitUpgrade = true, ...options } = {}) {
  const socket = connecting(t, which, url, options);
  await within(
    `${which.name} connects`,
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once(which.version === 2 ? "error" : "connect_error", (error) => {
        reject(error instanceof Error ? error : new Error(JSON.stringify(error)));
      });
    }),
  );
  if (which.transports.length > 1 && awaitUpgrade) await upgraded(socket);
  return socket;
}

/** Waits until a client is on a WebSocket. */
export function upgraded(socket) {
  return until("upgraded", () => socket.io.engine.transport.name === "websocket");
}

/** Emits and returns the ack. */
export function ask(socket, event, ...args) {
  return within(`an ack of ${event}`, new Promise((resolve) => socket.emit(event, ...args, resolve)));
}

/** Joins a room; fails unless the reply is a success. */
export async function join(socket, room) {
  const answer = await ask(socket, "join", { room });
  if (answer.status !== "SUCCESS") throw new Error(JSON.stringify(answer));
  return answer;
}

/** Collects the arguments of an event in an array that grows. */
export function collect(socket, event) {
  const arrived = [];
  socket.on(event, (...args) => arrived.push(args));
  return arrived;
}
