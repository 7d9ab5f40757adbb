// A strict cluster accepts the charts and the plain manifests: the API server every object, the Pod
// Security Standard "restricted" every pod; and `helm test` detects an ingress without sticky sessions.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { CHART, OPERATOR_CHART, helm } from "./harness/helm.mjs";
import { ROOKERY } from "./harness/images.mjs";
import { all, apply, get, kubectl, raw } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { NAME, Release } from "./harness/release.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const RESTRICTED = { "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted" };

/** A file of this repository. */
const repository = (path) => new URL(`../../${path}`, import.meta.url);

scenario("the API server accepts the output of the charts and `rookery render`", async (s) => {
  await operator.ensure();
  const namespace = await namespaces.create("printed", RESTRICTED);
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  const kinds = await readFile(repository("tests/e2e/fixtures/prometheus-operator.yaml"), "utf8");
  await apply(kinds);
  s.atEnd(() => kubectl("delete", "crd", "servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com"));
  await until("the cluster knows them", () => kubectl("get", "servicemonitors,prometheusrules", "-n", namespace, "-o", "name").then(() => true));
  // A pod with a priority class that does not exist is refused.
  await apply({ apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name: "high" }, value: 1 });
  s.atEnd(() => kubectl("delete", "priorityclass", "high"));
  /** Has the API server judge objects, of which nothing is kept; its warnings are errors. */
  const judge = async (yaml) => {
    const strictly = ["--server-side", "--force-conflicts", "--warnings-as-errors"];
    // What says of itself where it belongs must be taken as it is.
    const where = /^ {2}namespace: /m.test(yaml) ? [] : ["-n", namespace];
    const printed = await apply(yaml, "--dry-run=server", ...strictly, ...where);
    const count = printed.split("\n").filter((line) => line.endsWith("(server dry run)")).length;
    assert.equal(count, yaml.split("\n").filter((line) => line.startsWith("kind: ")).length, printed);
  };

  const { gitVersion } = await raw("/version");
  for (const [name, chart, folder] of [[NAME, CHART, "values"], [operator.RELEASE, OPERATOR_CHART, "operator/values"]]) {
    const sets = await readdir(repository(`tests/chart/${folder}`));
    for (const file of sets.sort()) {
      await s.step(`helm template ${name} with ${file}`, async () => {
        const values = repository(`tests/chart/${folder}/${file}`).pathname;
        const args = ["template", name, chart, "--namespace", namespace, "--values", values, "--kube-version", gitVersion];
        // The namespaces that it names are not those of this cluster.
        if (/watchNamespaces: \[/.test(await readFile(values, "utf8"))) args.push("--set", `watchNamespaces={default,${namespace}}`);
        await judge(await helm(...args));
      });
    }
  }

  const rendered = await readdir(repository("manifests/rendered"));
  const examples = await readdir(repository("manifests/examples"));
  const manifests = ["crd.yaml", "operator.yaml", ...rendered.map((file) => `rendered/${file}`), ...examples.map((file) => `examples/${file}`)];
  for (const file of manifests) {
    await s.step(`manifests/${file}`, async () => {
      const yaml = await readFile(repository(`manifests/${file}`), "utf8");
      await judge(yaml.replace(/^( *namespace): "?(?:chat|rookery)"?$/gm, `$1: ${namespace}`));
    });
  }

  await s.step("nothing was created", async () => {
    assert.deepEqual(await all(namespace, "rookeries,deployments,services,pods"), []);
  });
});

scenario("a release in a namespace that enforces the standard \"restricted\"", async (s) => {
  // Its operator is to run there too.
  await operator.remove();
  const release = await Release.prepare(s, "restricted", RESTRICTED);

  await s.step("the namespace rejects a pod that is not restricted", async () => {
    await assert.rejects(kubectl("run", "loose", "-n", release.namespace, `--image=${ROOKERY}`), /violates PodSecurity "restricted/);
  });

  await s.step("the service's pods, the operator and Redis are admitted and run", async () => {
    const where = { namespace: release.namespace };
    s.atEnd(() => operator.uninstall(where));
    await operator.upgrade({}, where);
    await release.install({ tests: { ingressAddress: "traefik.traefik.svc" } });
    await release.ready();
    const pods = await until("all are ready", async () => {
      const found = await all(release.namespace, "pods");
      return found.every(({ status }) => status.containerStatuses?.every(({ ready }) => ready)) && found;
    });
    const parts = pods.map(({ metadata }) => metadata.labels["app.kubernetes.io/component"]);
    assert.deepEqual(parts.sort(), ["operator", "operator", "redis-demo", "server", "server"]);
  });

  await s.step("helm test passes, through the ingress", async () => {
    await helm("test", NAME, "--namespace", release.namespace, "--timeout", "150s");
    const report = await doctor(release);
    const { spec } = await get("traefik", "service", "traefik");
    assert.ok(report.includes(`✓ reach      ${spec.clusterIP}:80`), report);
    for (const check of ["handshake", "polling", "upgrade", "websocket", "hold", "reconnect"]) {
      assert.match(report, new RegExp(`^✓ ${check} `, "m"));
    }
    assert.match(report, /^✓ stickiness .* kept their server by the cookie `rookery`/m);
  });

  await s.step("without sticky sessions helm test fails and names the fix", async () => {
    await release.upgrade({ ingress: { sticky: false }, tests: { hold: "1s" } });
    await until("the ingress keeps no client at its server", async () => {
      const { metadata } = await get(release.namespace, "service", NAME);
      const { headers } = await release.request("/socket.io/?EIO=4&transport=polling");
      return !JSON.stringify(metadata.annotations).includes("sticky") && headers["set-cookie"] === undefined;
    });
    await assert.rejects(helm("test", NAME, "--namespace", release.namespace, "--timeout", "150s"));
    const report = await doctor(release);
    assert.match(report, /set ingress\.sticky: true/);
    assert.match(report, /traefik\.ingress\.kubernetes\.io\/service\.sticky\.cookie/);
  });

  await s.step("with sticky sessions it passes again", async () => {
    await release.upgrade({ ingress: { sticky: true } });
    await until("the ingress gives its cookie", async () => {
      const { headers } = await release.request("/socket.io/?EIO=4&transport=polling");
      return String(headers["set-cookie"]).startsWith("rookery=");
    });
    await release.ready();
    await helm("test", NAME, "--namespace", release.namespace, "--timeout", "150s");
  });
});

/** What the last `helm test` said. */
function doctor(release) {
  return kubectl("logs", "-n", release.namespace, `${NAME}-doctor`);
}
