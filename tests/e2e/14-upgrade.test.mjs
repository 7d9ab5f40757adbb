// An upgrade of the operator's release updates the CRD, and users who may edit a namespace may edit its
// Rookery.
import assert from "node:assert/strict";
import { get, kubectl } from "./harness/kubectl.mjs";
import { Release } from "./harness/release.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const DEFINITION = "rookeries.rookery.dev";

scenario("the CRD: upgrade and permissions", async (s) => {
  await operator.ensure();
  const { namespace } = await Release.prepare(s, "rights");

  await s.step("helm upgrade updates the CRD", async () => {
    const columns = async () => (await get("default", "crd", DEFINITION)).spec.versions[0].additionalPrinterColumns;
    const before = await columns();
    const cut = [{ op: "remove", path: "/spec/versions/0/additionalPrinterColumns/0" }];
    await kubectl("patch", "crd", DEFINITION, "--type=json", "--patch", JSON.stringify(cut));
    assert.notDeepEqual(await columns(), before);
    await operator.upgrade();
    assert.deepEqual(await columns(), before);
    for (const kind of ["job", "serviceaccount"]) {
      assert.equal(await get(operator.NAMESPACE, kind, "rookery-operator-crd"), undefined);
    }
    assert.equal(await get("default", "clusterrole", "rookery-operator-crd"), undefined);
  });

  await s.step("only users who may edit the namespace may edit its Rookery", async () => {
    const developer = `system:serviceaccount:${namespace}:developer`;
    const may = (verb) =>
      kubectl("auth", "can-i", verb, DEFINITION, "--namespace", namespace, "--as", developer)
        .then((answer) => answer.trim() === "yes", () => false);
    assert.equal(await may("update"), false);
    await kubectl("create", "rolebinding", "developer", "--clusterrole=edit", `--serviceaccount=${namespace}:developer`, "--namespace", namespace);
    await until("the role edit covers it", () => may("update"));
    assert.equal(await may("get"), true);
  });
});
