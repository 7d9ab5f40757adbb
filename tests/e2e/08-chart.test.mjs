// The chart as a platform's engineer meets it: everything it makes is admitted where pods are
// restricted, `helm test` tells a right ingress from a wrong one, an upgrade brings the definition
// up to date, and whoever may edit a namespace may edit its Rookery.
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { CHART, helm } from "./harness/helm.mjs";
import { apply, get, kubectl } from "./harness/kubectl.mjs";
import { NAME, Release } from "./harness/release.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const VALUES = path.join(CHART, "../../tests/chart/values");
const DEFINITION = "rookeries.rookery.dev";

scenario("the chart on a cluster", async (s) => {
  await operator.ensure();
  const restricted = { "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted" };
  const release = await Release.prepare(s, "chart", restricted);
  const { namespace } = release;

  await s.step("the API server takes all of it, without a warning", async () => {
    for (const file of await readdir(VALUES)) {
      const values = ["--values", path.join(VALUES, file)];
      // Namespaces and definitions that this cluster has not.
      const here = file === "full.yaml" ? ["operator.serviceMonitor.enabled=false", `operator.watchNamespaces={${namespace}}`] : [];
      const sets = here.flatMap((set) => ["--set", set]);
      const yaml = await helm("template", NAME, CHART, "--namespace", namespace, "--kube-version", "1.34.0", ...values, ...sets);
      await apply(yaml, "--dry-run=server", "--server-side", "--force-conflicts", "--warnings-as-errors");
    }
  });

  await s.step("helm test passes through the ingress, in a restricted namespace", async () => {
    await release.install({
      tests: { ingressAddress: "traefik.traefik.svc" },
      config: { socketio: { pingInterval: "5s" } },
    });
    await release.ready();
    const report = await helm("test", NAME, "--namespace", namespace, "--logs");
    for (const line of [/✓ stickiness .*cookie `rookery`/, /✓ upgrade/, /✓ websocket/, /✓ hold +by polling/, /✓ reconnect/]) {
      assert.match(report, line);
    }
    assert.doesNotMatch(report, /✗/);
  });

  await s.step("helm test names the annotation where stickiness is off", async () => {
    await release.upgrade({ ingress: { sticky: false } });
    await until("the ingress sets no cookie", async () => {
      const { status, headers } = await release.request("/socket.io/?EIO=4&transport=polling");
      return status === 200 && headers["set-cookie"] === undefined;
    });
    await assert.rejects(helm("test", NAME, "--namespace", namespace));
    const report = await kubectl("logs", "--namespace", namespace, `${NAME}-doctor`);
    assert.match(report, /✗ .*Session ID unknown/);
    assert.match(report, /fix: .*ingress\.sticky: true.*service\.sticky\.cookie/);
    assert.match(report, /✓ websocket/);
  });

  await s.step("an upgrade brings the definition up to date", async () => {
    const columns = async () => (await get("default", "crd", DEFINITION)).spec.versions[0].additionalPrinterColumns;
    const before = await columns();
    const cut = [{ op: "remove", path: "/spec/versions/0/additionalPrinterColumns/0" }];
    await kubectl("patch", "crd", DEFINITION, "--type=json", "--patch", JSON.stringify(cut));
    assert.notDeepEqual(await columns(), before);
    await operator.ensure();
    assert.deepEqual(await columns(), before);
    for (const kind of ["job", "serviceaccount"]) {
      assert.equal(await get(operator.NAMESPACE, kind, "rookery-operator-crd"), undefined);
    }
    assert.equal(await get("default", "clusterrole", "rookery-operator-crd"), undefined);
  });

  await s.step("whoever may edit the namespace may edit its Rookery, and nobody else", async () => {
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
