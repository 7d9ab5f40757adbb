// The python-socketio client, with the interface of the JavaScript one.
import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { atEnd, within } from "./harness.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const interpreter = path.join(here, "../.venv/bin/python");

/** The ways in which it connects. */
export const PYTHON_KINDS = [["websocket"], ["polling"], ["polling", "websocket"]].map(
  (transports) => ({ name: `python-socketio 5, ${transports.join(" then ")}`, python: true, transports }),
);

function pack(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
  if (Array.isArray(value)) return value.map(pack);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, pack(v)]));
}

function unpack(_key, value) {
  return typeof value?.$bytes === "string" ? Buffer.from(value.$bytes, "base64") : value;
}

class PythonClient {
  #child;
  #events = new EventEmitter();
  #acks = new Map();

  constructor(child) {
    this.#child = child;
  }

  on(event, listener) {
    this.#events.on(`event ${event}`, listener);
  }

  emit(event, ...args) {
    const callback = typeof args.at(-1) === "function" ? args.pop() : undefined;
    const ack = callback ? this.#acks.size + 1 : null;
    if (callback) this.#acks.set(ack, callback);
    this.#child.stdin.write(`${JSON.stringify({ emit: event, args: pack(args), ack })}\n`);
  }

  close() {
    this.#child.stdin.end();
  }

  happened(line, connected) {
    const what = JSON.parse(line, unpack);
    if (what.connected) connected();
    if (what.event) this.#events.emit(`event ${what.event}`, ...what.args);
    if (what.ack) this.#acks.get(what.ack)(...what.args);
  }
}

/**
 * python-socketio's RedisManager, which only writes: `call(method, args, kwargs)` resolves when it has
 * published. A `{$tuple: [...]}` is several arguments of an event.
 */
export function pythonEmitter(t, redis, channel) {
  const script = path.join(here, "python_emitter.py");
  const child = spawn(interpreter, [script, redis.url, channel], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  atEnd(t, async () => {
    child.stdin.end();
    await within("the Python emitter ends", ended);
  });
  const waiting = [];
  createInterface({ input: child.stdout }).on("line", () => waiting.shift()());
  return function call(method, args, kwargs = {}) {
    child.stdin.write(`${JSON.stringify({ call: method, args: pack(args), kwargs })}\n`);
    return within(`${method} of the Python emitter`, new Promise((resolve) => waiting.push(resolve)));
  };
}

/** A Python client that is connected; it ends with the test. */
export async function connectedPython(t, { transports }, url) {
  const script = path.join(here, "python_client.py");
  const child = spawn(interpreter, [script, url, transports.join(",")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const client = new PythonClient(child);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  atEnd(t, async () => {
    client.close();
    await within("the Python client ends", ended);
  });
  await within(
    "the Python client connects",
    new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the Python client ended with ${code}`)));
      createInterface({ input: child.stdout }).on("line", (line) => client.happened(line, resolve));
    }),
  );
  return client;
}
