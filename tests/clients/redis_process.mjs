// Processes of redis-server that need more than a port: nodes of a Cluster, replicas, sentinels.
import { execFile, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { atEnd, directory, freePort, until } from "./harness.mjs";

const run = promisify(execFile);

/** How long an answer of a server may take, in milliseconds: one that hangs gives none. */
const ANSWER = 5_000;

/** A process of redis-server on a port of its own, killed at the end of the test. */
export class RedisProcess {
  #words;
  #access;
  #hangs = false;

  /** `options(port, folder)` gives the lines of its configuration, beside those of `access`; `words` are of its command line. */
  static async start(t, access, options, words = []) {
    const server = new RedisProcess();
    server.#access = access;
    const folder = await directory(t);
    atEnd(t, () => server.kill());
    // If another process took the port in the meantime, try another one.
    for (let tries = 0; tries < 5; tries++) {
      server.port = await freePort();
      const lines = ["bind 127.0.0.1", `dir ${folder}`, ...access.listener(server.port), ...(await options(server.port))];
      const file = path.join(folder, "redis.conf");
      await writeFile(file, lines.map((line) => `${line}\n`).join(""));
      server.#words = [file, ...words];
      if (await server.run()) return server;
    }
    throw new Error("redis-server does not start");
  }

  /** Starts it, or starts it again after it was killed; gives whether it runs. */
  async run() {
    const child = spawn("redis-server", this.#words, { stdio: "ignore" });
    this.child = child;
    await until("redis-server answers", () => !this.isRunning || this.cli("ping").catch(() => false));
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
    this.#hangs = true;
  }

  resume() {
    this.child.kill("SIGCONT");
    this.#hangs = false;
  }

  /** Whether it was neither killed nor hangs. */
  get answers() {
    return this.isRunning && !this.#hangs;
  }

  /** What it answers to a command, as text. */
  async cli(...words) {
    const all = [...this.#access.cli, "-p", this.port, ...words];
    const { stdout } = await run("redis-cli", all.map(String), { timeout: ANSWER });
    return stdout.trim();
  }

  /** The same as a value. */
  async json(...words) {
    return JSON.parse(await this.cli("--json", ...words));
  }
}
