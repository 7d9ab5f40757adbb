// Processes of redis-server that need more than a port: nodes of a Cluster, replicas, sentinels.
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { atEnd, directory, freePort, until } from "./harness.mjs";

const run = promisify(execFile);

/** How long an answer of a server may take, in milliseconds: one that hangs gives none. */
const ANSWER = 5_000;

/** A process of redis-server on a port of its own, killed at the end of the test. */
export class RedisProcess {
  #words;

  /** `options(port, folder)` gives the words of the command line. */
  static async start(t, options) {
    const server = new RedisProcess();
    const folder = await directory(t);
    atEnd(t, () => server.kill());
    // If another process took the port in the meantime, try another one.
    for (let tries = 0; tries < 5; tries++) {
      server.port = await freePort();
      server.#words = (await options(server.port, folder)).map(String);
      if (await server.run()) return server;
    }
    throw new Error("redis-server does not start");
  }

  /** Starts it, or starts it again after it was killed; gives whether it runs. */
  async run() {
    const child = spawn("redis-server", this.#words, { stdio: "ignore" });
    this.child = child;
    await until("redis-server answers", () => !this.isRunning || cli(this.port, "ping").catch(() => false));
    return this.isRunning;
  }

  get isRunning() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** kill -9; resolves when it has ended. */
  async kill() {
    if (!this.child || !this.isRunning) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }

  /** It hangs until `resume()`. */
  hang() {
    this.child.kill("SIGSTOP");
  }

  resume() {
    this.child.kill("SIGCONT");
  }

  /** What it answers to a command, as text. */
  cli(...words) {
    return cli(this.port, ...words);
  }

  /** The same as a value. */
  async json(...words) {
    return JSON.parse(await cli(this.port, "--json", ...words));
  }
}

async function cli(port, ...words) {
  const { stdout } = await run("redis-cli", ["-p", port, ...words].map(String), { timeout: ANSWER });
  return stdout.trim();
}
