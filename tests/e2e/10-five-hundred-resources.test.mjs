// One operator and five hundred resources: all are reconciled; afterwards idling costs next to
// nothing, and a change costs one status write.
import assert from "node:assert/strict";
import { all, apply, get, kubectl, raw } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { Pod } from "./harness/pod.mjs";
import { rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { pause, until } from "./harness/until.mjs";

const COUNT = 500;

/** How many are created by one request of kubectl. */
const AT_ONCE = 50;

/** For how long the idle operator is watched, in milliseconds. */
const WINDOW = 60_000;

/**
 * The most CPU time that an operator may take in an idle window, as a part of what it took the leader to
 * reconcile all: most of it goes to the autoscalers, which ask for metrics every 15 seconds.
 */
const IDLE_PART = 1 / 5;

scenario("five hundred resources", async (s) => {
  await operator.ensure();
  const namespace = await namespaces.create("many");
  s.watch(namespace);
  s.atEnd(() => removeAll(namespace));
  const operators = await Operators.find();
  s.atEnd(async () => operators.close());
  const cpuAtStart = await operators.cpu();
  const names = Array.from({ length: COUNT }, (_, n) => `chat-${n}`);

  await s.step("all resources are reconciled", async () => {
    const began = Date.now();
    for (let n = 0; n < COUNT; n += AT_ONCE) {
      await apply(names.slice(n, n + AT_ONCE).map((name) => resource(namespace, name)), "--server-side");
    }
    await until(
      "every status is about what is asked for",
      async () => {
        const path = '{range .items[*]}{.metadata.generation} {.status.observedGeneration}{"\\n"}{end}';
        const lines = (await kubectl("get", "rookeries", "-n", namespace, "-o", `jsonpath=${path}`)).trim().split("\n");
        const left = lines.filter((line) => !/^(\d+) \1$/.test(line)).length;
        assert.equal(left, 0, `${left} of ${lines.length} are not`);
        return lines.length === COUNT;
      },
      { patience: 240_000, every: 2000 },
    );
    s.note(`all ${COUNT} reconciled after ${Math.round((Date.now() - began) / 1000)} s`);
    for (const kind of ["deployments", "services", "hpa", "networkpolicies"]) {
      const printed = await kubectl("get", kind, "-n", namespace, "-o", "name");
      assert.equal(printed.trim().split("\n").length, kind === "services" ? 2 * COUNT : COUNT, kind);
    }
  });

  await s.step("afterwards no object is changed and no status is written", async () => {
    await operators.settled();
    const [work, statusesBefore, cpu] = [await operators.work(), await statuses(namespace), await operators.cpu()];
    const reconciling = cpu.get(operators.leader.name) - cpuAtStart.get(operators.leader.name);
    s.note(`${work.objects} objects and ${work.statuses} statuses written, with ${reconciling.toFixed(1)} s of the leader's CPU`);
    await pause(WINDOW);
    const idle = [];
    for (const [name, seconds] of await operators.cpu()) {
      idle.push(seconds - cpu.get(name));
      s.note(`${name}${name === operators.leader.name ? ", the leader" : ""}: ${idle.at(-1).toFixed(2)} s of CPU in an idle minute`);
    }
    const now = await operators.work();
    assert.deepEqual(now, work, `${JSON.stringify(now)} after ${JSON.stringify(work)}: ${changes(statusesBefore, await statuses(namespace))}`);
    assert.ok(Math.max(...idle) < reconciling * IDLE_PART, `idle ${idle}, to reconcile all ${reconciling}`);
  });

  await s.step("a change to a resource costs one status write", async () => {
    for (const changed of [names.slice(0, 1), names.slice(1, 21)]) {
      const before = await operators.work();
      const statusesBefore = await statuses(namespace);
      await apply(changed.map((name) => resource(namespace, name, { autoscaling: { connectionsPerPod: 77 } })), "--server-side");
      await until("they are reconciled", async () => {
        for (const name of changed) {
          const { metadata, status } = await get(namespace, "rookery", name);
          assert.equal(status.observedGeneration, metadata.generation);
        }
        return true;
      });
      await operators.settled();
      const after = await operators.work();
      const written = after.statuses - before.statuses;
      assert.equal(written, changed.length, `${written} statuses written: ${changes(statusesBefore, await statuses(namespace))}`);
      assert.equal(after.objects - before.objects, changed.length, "objects changed: the autoscalers");
    }
  });

  await s.step("reverting a manual edit costs none", async () => {
    const before = await operators.work();
    await kubectl("patch", "hpa", "-n", namespace, names[0], "-p", JSON.stringify({ spec: { maxReplicas: 7 } }));
    await until("it is put right", async () => (await get(namespace, "hpa", names[0])).spec.maxReplicas === 1);
    await operators.settled();
    assert.deepEqual(await operators.work(), { ...before, objects: before.objects + 1 });
  });
}, { limit: 20 * 60_000 });

/**
 * One server that no node has room for. Its rollout counts as stuck, which is a status of its own, five
 * minutes after the drain's window: later than the test ends.
 */
function resource(namespace, name, more) {
  return rookery(namespace, name, { podTemplate: { nodeSelector: { none: "none" } }, drain: { window: "25m" }, ...more });
}

/** The status of each resource, by name. */
async function statuses(namespace) {
  return new Map((await all(namespace, "rookeries")).map(({ metadata, status }) => [metadata.name, status]));
}

/** The fields of statuses that differ, with the number of resources. */
function changes(before, after) {
  const counts = {};
  const count = (what) => (counts[what] = (counts[what] ?? 0) + 1);
  const differ = (one, other) => JSON.stringify(one) !== JSON.stringify(other);
  for (const [name, status] of after) {
    const earlier = before.get(name) ?? {};
    for (const field of Object.keys(status)) if (field !== "conditions" && differ(status[field], earlier[field])) count(field);
    for (const condition of status.conditions ?? []) {
      const was = earlier.conditions?.find(({ type }) => type === condition.type);
      if (differ(condition, was)) count(`${condition.type}: ${condition.message}`);
    }
  }
  return JSON.stringify(counts);
}

/** Deletes them, and the namespace: what 500 resources own takes the garbage collector its time. */
async function removeAll(namespace) {
  await kubectl("delete", "rookeries", "--all", "-n", namespace, "--wait=false");
  await kubectl("delete", "namespace", namespace, "--wait=false");
  await until("the namespace is gone", async () => (await kubectl("get", "namespace", namespace, "--ignore-not-found")) === "", {
    patience: 600_000,
    every: 3000,
  });
}

/** The operator's pods: the one that leads, and the others. */
class Operators {
  static async find() {
    const operators = new Operators();
    operators.pods = (await operator.pods()).map((object) => new Pod(object));
    operators.leader = await until("one leads", async () => {
      for (const pod of operators.pods) {
        if ((await pod.metric("rookery_operator_leader")) === 1) return pod;
      }
      return undefined;
    });
    return operators;
  }

  /** What the leader has done since it began: statuses written, objects changed. */
  async work() {
    const [statuses, objects] = await Promise.all(
      ["rookery_operator_status_writes_total", "rookery_operator_changes_total"].map((name) => this.leader.metric(name)),
    );
    return { statuses, objects };
  }

  /** Waits until nothing is done any more. */
  async settled() {
    let last;
    await until(
      () => `the operator has nothing more to do: ${JSON.stringify(last)}`,
      async () => {
        const before = last;
        last = await this.work();
        return before !== undefined && last.statuses === before.statuses && last.objects === before.objects;
      },
      { patience: 300_000, every: 10_000 },
    );
  }

  /** The CPU time of each so far, as its node counts it: seconds, by pod. */
  async cpu() {
    const used = new Map();
    for (const pod of this.pods) {
      const { pods } = await raw(`/api/v1/nodes/${pod.node}/proxy/stats/summary`);
      const { cpu } = pods.find(({ podRef }) => podRef.name === pod.name && podRef.namespace === pod.namespace);
      used.set(pod.name, cpu.usageCoreNanoSeconds / 1e9);
    }
    return used;
  }

  close() {
    for (const pod of this.pods) pod.close();
  }
}
