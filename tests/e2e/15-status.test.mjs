// The status names every failure within a minute, a paused resource is left as it is, the number of
// pods can be declared, and a fight over a field is noticed.
import assert from "node:assert/strict";
import * as gitops from "./harness/gitops.mjs";
import { REDIS, ROOKERY } from "./harness/images.mjs";
import { all, apply, get, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { condition, rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { pause, until } from "./harness/until.mjs";

/** How soon a failure must be in the status, in milliseconds. */
const MINUTE = 60_000;

/** Lets pods end at once. */
const QUICK = { drain: { lead: "0s", window: "1s" } };

/** What waits for something that may still come. All other failures wait for somebody to act. */
const MAY_END = ["Unschedulable", "RedisUnreachable"];

/** What fails: name, spec, reason and message of the condition Ready. */
const FAILURES = [
  ["no-image", { image: "rookery.local/none:none" }, "ImagePullBackOff", /^pod no-image-\S+: .*rookery\.local\/none:none/],
  ["no-secret", { redis: { urlSecret: { name: "nowhere" } } }, "CreateContainerConfigError", /secret "nowhere" not found/],
  ["no-mount", { secrets: [{ secretName: "nokeys", mountPath: "/etc/keys" }] }, "FailedMount", /secret "nokeys" not found/],
  ["crashes", { image: REDIS }, "CrashLoopBackOff", /exits with code 1: .*can't open config file/],
  ["too-big", { resources: { requests: { cpu: "500" } } }, "Unschedulable", /Insufficient cpu/],
  ["no-redis", { redis: { url: "redis://nowhere:6379" } }, "RedisUnreachable", /^not connected to Redis: no-redis-/],
  ["invalid", { config: { auth: { anonymous: true }, rooms: [{ match: "{app}", join: "app in (" }] } }, "Invalid", /^spec\.config\.rooms\[0\]\.join: /],
];

/** A namespace of its own, watched for evidence. */
async function start(s, topic) {
  await operator.ensure();
  const namespace = await namespaces.create(topic);
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  return namespace;
}

scenario("every failure is in the status within a minute", async (s) => {
  const namespace = await start(s, "status");
  await apply(FAILURES.map(([name, spec]) => rookery(namespace, name, { image: ROOKERY, ...QUICK, ...spec })));
  await apply(rookery(namespace, "healthy", { image: ROOKERY, ...QUICK }));

  await Promise.all(
    FAILURES.map(([name, , reason, message]) =>
      s.step(`${name}: Ready is false with the reason ${reason}, and the message names the cause`, async () => {
        await until(
          "the condition says so",
          async () => {
            const ready = await condition(namespace, name, "Ready");
            assert.equal(ready?.status, "False");
            assert.equal(ready.reason, reason);
            assert.match(ready.message, message);
            return true;
          },
          { patience: MINUTE },
        );
      }),
    ),
  );

  await s.step("kubectl wait passes for the healthy one, and the columns show reason and pods", async () => {
    await kubectl("wait", "-n", namespace, "rookery/healthy", "--for=condition=Ready", "--timeout=60s");
    const printed = await kubectl("get", "-n", namespace, "rookeries");
    assert.match(printed, /^NAME +READY +REASON +PODS +CONNECTIONS +REDIS +AGE/);
    assert.match(printed, /^healthy +True +Ready +1\/1 /m);
    assert.match(printed, /^no-image +False +ImagePullBackOff +0\/1 /m);
  });

  if (gitops.available) {
    await s.step("Flux and Argo CD make of each what it is", async () => {
      const names = [...FAILURES.map(([name]) => name), "healthy"];
      const objects = await Promise.all(names.map((name) => get(namespace, "rookery", name)));
      const unseen = JSON.parse(await apply(rookery(namespace, "new", { image: ROOKERY }), "-o", "json", "--dry-run=server"));
      const found = await gitops.verdicts([...objects, ...(unseen.items ?? [unseen])]);
      const { flux, argo } = found.pop();
      assert.deepEqual([flux, argo], ["InProgress", "Progressing"], "before the operator has seen it");
      FAILURES.forEach(([name, , reason, message], at) => {
        const mayEnd = MAY_END.includes(reason);
        assert.equal(found[at].flux, mayEnd ? "InProgress" : "Failed", name);
        assert.equal(found[at].argo, mayEnd ? "Progressing" : "Degraded", name);
        assert.match(found[at].message, message, name);
      });
      assert.deepEqual([found.at(-1).flux, found.at(-1).argo], ["Current", "Healthy"]);
    });
  }

  await s.step("the status names image, version and selector", async () => {
    const { image, version, selector } = await until("the version is known", async () => {
      const { status } = await get(namespace, "rookery", "healthy");
      return status.version !== "" && status;
    });
    assert.equal(image, ROOKERY);
    assert.match(version, /^\d+\.\d+\.\d+/);
    assert.equal((await all(namespace, "pods", selector)).length, 1);
  });

  await s.step("a failure is an event too", async () => {
    await until("there is one", async () => {
      const events = await all(namespace, "events");
      return events.some((event) => event.reason === "CrashLoopBackOff" && event.involvedObject.kind === "Rookery");
    });
  });

  await s.step("an invalid edit of a running service makes Ready false, and leaves it available", async () => {
    const config = { auth: { anonymous: true }, rooms: [{ match: "{app}", join: "app in (" }] };
    await apply(rookery(namespace, "healthy", { image: ROOKERY, ...QUICK, config }));
    await until("it is not ready", async () => (await condition(namespace, "healthy", "Ready"))?.reason === "Invalid");
    assert.equal((await condition(namespace, "healthy", "Stalled")).status, "True");
    assert.equal((await condition(namespace, "healthy", "Available")).status, "True");
  });
});

scenario("a paused resource is left as it is, and the number of pods can be declared", async (s) => {
  const namespace = await start(s, "paused");
  const NAME = "chat";
  const nowhere = { redis: { url: "redis://nowhere:6379" } };
  await apply(rookery(namespace, NAME, { image: ROOKERY, ...QUICK, ...nowhere, autoscaling: { enabled: false } }));
  const replicas = async () => (await get(namespace, "deployment", NAME))?.spec.replicas;
  await until("it has two pods", async () => (await replicas()) === 2);

  await s.step("kubectl scale sets the number of pods", async () => {
    await kubectl("scale", "-n", namespace, `rookery/${NAME}`, "--replicas=3");
    await until("it has three", async () => (await replicas()) === 3);
    const { metadata, spec } = await get(namespace, "rookery", NAME);
    assert.deepEqual(spec.replicas, { min: 3 });
    assert.ok(metadata.generation > 1);
  });

  await s.step("while it is paused, nothing is applied and nothing is reverted", async () => {
    const { status } = await get(namespace, "rookery", NAME);
    await kubectl("annotate", "-n", namespace, "rookery", NAME, "rookery.dev/reconcile=paused");
    const paused = async () => (await get(namespace, "rookery", NAME)).status.conditions.find(({ type }) => type === "Paused");
    await until("it says so", async () => (await paused()).status === "True");
    await kubectl("delete", "-n", namespace, "poddisruptionbudget", NAME);
    await kubectl("scale", "-n", namespace, `rookery/${NAME}`, "--replicas=4");
    await pause(3_000);
    assert.equal(await get(namespace, "poddisruptionbudget", NAME), undefined);
    assert.equal(await replicas(), 3);
    assert.equal((await get(namespace, "rookery", NAME)).status.observedGeneration, status.observedGeneration);
  });

  await s.step("without the annotation, all of it is made up for", async () => {
    await kubectl("annotate", "-n", namespace, "rookery", NAME, "rookery.dev/reconcile-");
    await until("the budget is back", () => get(namespace, "poddisruptionbudget", NAME));
    await until("it has four pods", async () => (await replicas()) === 4);
  });

  await s.step("who changes a field back again and again is left alone, and the status says so", async () => {
    const edit = () =>
      kubectl("patch", "-n", namespace, "poddisruptionbudget", NAME, "--type=merge", "-p", '{"spec":{"maxUnavailable":3}}');
    const degraded = await until(
      "the fight is noticed",
      async () => {
        await edit();
        const found = await condition(namespace, NAME, "Degraded");
        return found?.reason === "Contested" && found;
      },
      { every: 1_000 },
    );
    assert.match(degraded.message, /PodDisruptionBudget chat/);
    assert.equal((await get(namespace, "poddisruptionbudget", NAME)).spec.maxUnavailable, 3);
  });
});
