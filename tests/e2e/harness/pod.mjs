// One pod's internal listener, reached through the API server, so that no NetworkPolicy applies.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { isReady, kubectl } from "./kubectl.mjs";
import { within } from "./until.mjs";

export class Pod {
  #forward;

  constructor(object) {
    this.object = object;
    this.name = object.metadata.name;
    this.namespace = object.metadata.namespace;
    this.node = object.spec.nodeName;
  }

  get ready() {
    return isReady(this.object);
  }

  get terminating() {
    return this.object.metadata.deletionTimestamp !== undefined;
  }

  /** The first 8 characters of its members' ids, which it logs when it starts to serve. */
  async id() {
    const log = await kubectl("logs", "-n", this.namespace, this.name, "--limit-bytes=20000");
    const line = log.split("\n").find((text) => text.includes('"pod":'));
    if (line === undefined) throw new Error(`${this.name} does not serve yet`);
    return JSON.parse(line).pod;
  }

  /** The URL of its internal listener; `close` ends the port-forward. */
  async internal() {
    this.#forward ??= await this.#open();
    return this.#forward.url;
  }

  close() {
    this.#forward?.child.kill("SIGKILL");
    this.#forward = undefined;
  }

  /** The sum of a metric's series whose labels hold all of `labels`; 0 when there is none. */
  async metric(name, labels = {}) {
    const text = await (await fetch(`${await this.internal()}/metrics`)).text();
    let sum = 0;
    for (const line of text.split("\n")) {
      const [, found, inside, value] = /^([a-zA-Z_:]+)(?:\{(.*)\})? ([^ ]+)$/.exec(line) ?? [];
      if (found !== name) continue;
      if (Object.entries(labels).every(([k, v]) => (inside ?? "").includes(`${k}="${v}"`))) sum += Number(value);
    }
    return sum;
  }

  async #open() {
    const args = ["port-forward", "-n", this.namespace, `pod/${this.name}`, ":9090"];
    const child = spawn("kubectl", args, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stderr.on("data", (data) => (said += data));
    const url = await within(
      `a way to ${this.name}:9090`,
      new Promise((resolve, reject) => {
        child.once("error", reject);
        child.once("exit", () => reject(new Error(`port-forward to ${this.name}: ${said}`)));
        createInterface({ input: child.stdout }).on("line", (line) => {
          const [, port] = /127\.0\.0\.1:(\d+)/.exec(line) ?? [];
          if (port) resolve(`http://127.0.0.1:${port}`);
        });
      }),
      15_000,
    );
    return { child, url };
  }
}
