// The mistakes that people make in a resource: what apply can refuse is refused there, with the field.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { apply } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { condition, rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

/** The table that crates/operator/tests/mistakes.rs checks without a cluster. */
const MISTAKES = JSON.parse(readFileSync(new URL("../mistakes/table.json", import.meta.url), "utf8"));

/** Applies that run at once. */
const AT_ONCE = 4;

scenario("every mistake is caught where the table says", async (s) => {
  await operator.ensure();
  const namespace = await namespaces.create("mistakes");
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));

  const failed = [];
  const waiting = MISTAKES.filter(({ by }) => by !== "condition");
  await s.step(`${waiting.length} mistakes are refused by kubectl apply`, async () => {
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let next = waiting.shift(); next; next = waiting.shift()) {
          const { mistake, spec, says } = next;
          // Of a list, kubectl would check the fields by itself.
          const said = await apply(JSON.stringify(rookery(namespace, "chat", spec)), "--dry-run=server").catch((error) => error.message);
          if (!said.includes(says)) failed.push(`${mistake}: no "${says}" in: ${said}`);
        }
      }),
    );
    assert.deepEqual(failed, []);
  });

  const judged = MISTAKES.filter(({ by }) => by === "condition");
  await s.step(`${judged.length} mistakes are named by the condition Ready`, async () => {
    await apply(judged.map(({ spec }, i) => rookery(namespace, `mistake-${i}`, spec)));
    await Promise.all(
      judged.map(({ mistake, says }, i) =>
        until(`${mistake}: the condition names ${says}`, async () => {
          const ready = await condition(namespace, `mistake-${i}`, "Ready");
          return ready?.status === "False" && ready.reason === "Invalid" && ready.message.includes(says);
        }),
      ),
    );
  });
});
