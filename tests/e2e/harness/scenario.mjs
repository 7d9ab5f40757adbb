// A test in steps on one cluster: each step is reported by its name; after a failure the remaining
// steps are skipped, and the state of the cluster is kept.
import { test } from "node:test";
import { collect } from "./evidence.mjs";
import * as operator from "./operator.mjs";

/** How long a whole scenario may take, in milliseconds. */
const LIMIT = 15 * 60_000;

/**
 * Declares a scenario, which is passed to `run`: `step(name, action)` runs a step,
 * `watch(namespace)` adds a namespace to the evidence of a failure, and `atEnd(action)` registers a
 * cleanup; cleanups run in reverse order. `skip` is a reason to skip the scenario.
 */
export function scenario(name, run, { limit = LIMIT, skip = false } = {}) {
  test(name, { timeout: limit, skip }, async (t) => {
    const running = new Scenario(t, name);
    try {
      await running.keeping(name, () => run(running));
    } finally {
      await running.end();
    }
  });
}

class Scenario {
  #t;
  #namespaces = [];
  #endings = [];
  #kept = false;

  constructor(t, name) {
    this.#t = t;
    this.name = name;
  }

  watch(namespace) {
    this.#namespaces.push(namespace);
  }

  atEnd(action) {
    this.#endings.push(action);
  }

  /** Reports a measured figure. */
  note(text) {
    this.#t.diagnostic(text);
  }

  async step(name, action) {
    let failure;
    await this.#t.test(name, async () => {
      try {
        return await this.keeping(`${this.name} ${name}`, action);
      } catch (error) {
        failure = error;
        throw error;
      }
    });
    if (failure) throw new Error(`step failed: ${name}`);
  }

  async keeping(name, action) {
    try {
      return await action();
    } catch (error) {
      if (!this.#kept) {
        this.#kept = true;
        console.log(`--- failed: ${name}: ${error.stack}`);
        await collect(name, [...this.#namespaces, operator.NAMESPACE, "traefik"]).catch((e) => console.log(`no evidence: ${e.message}`));
      }
      throw error;
    }
  }

  async end() {
    const problems = [];
    while (this.#endings.length > 0) {
      await this.#endings.pop()().catch((error) => problems.push(error));
    }
    if (problems.length > 0) throw new AggregateError(problems, problems.map(String).join("\n"));
  }
}
