// An upgrade of the operator's release updates the CRD, the CRD that an older version left is taken over
// as the docs say, and users who may edit a namespace may edit its Rookery.
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
  });

  await s.step("a CRD without an owner is taken over as docs/upgrade.md says, and nothing is lost", async () => {
    const release = await Release.install(s, "moves");
    await operator.uninstall();
    const { uid } = (await release.resource()).metadata;
    // As the chart that had both left it.
    await kubectl("annotate", "crd", DEFINITION, "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-", "helm.sh/resource-policy-");
    await kubectl("label", "crd", DEFINITION, "app.kubernetes.io/managed-by-");
    await assert.rejects(operator.install(), /cannot be imported into the current release/);
    await kubectl("label", "crd", DEFINITION, "--overwrite", "app.kubernetes.io/managed-by=Helm");
    const names = [`meta.helm.sh/release-name=${operator.RELEASE}`, `meta.helm.sh/release-namespace=${operator.NAMESPACE}`];
    await kubectl("annotate", "crd", DEFINITION, "--overwrite", ...names);
    await operator.install();
    assert.equal((await release.resource()).metadata.uid, uid);
    const { annotations } = (await get("default", "crd", DEFINITION)).metadata;
    assert.equal(annotations["helm.sh/resource-policy"], "keep");
    await release.upgrade({ autoscaling: { connectionsPerPod: 77 } });
    await until("the operator reconciles it", async () => {
      const { metadata, status } = await release.resource();
      return status.observedGeneration === metadata.generation;
    });
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
