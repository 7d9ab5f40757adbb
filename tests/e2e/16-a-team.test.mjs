// A team that has nothing but the built-in role `edit` in one namespace installs, upgrades, tests and
// removes a service, by helm and by kubectl.
import assert from "node:assert/strict";
import { CHART } from "./harness/helm.mjs";
import { ROOKERY, parts } from "./harness/images.mjs";
import { all, get } from "./harness/kubectl.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { NAME, Team } from "./harness/team.mjs";
import { until } from "./harness/until.mjs";

/** A team beside an operator. */
async function start(s) {
  await operator.ensure();
  return Team.start(s, "team");
}

/** The values of its service, with these. */
function values(team, more = {}) {
  return {
    image: parts(ROOKERY),
    ingress: { host: team.host, className: "traefik" },
    anonymous: true,
    drain: { lead: "1s", window: "2s" },
    tests: { ingressAddress: "traefik.traefik.svc" },
    ...more,
  };
}

/** Waits until the resource is ready, and a new client gets in through the ingress. */
async function serves(team) {
  await until("the resource exists", () => get(team.namespace, "rookery", NAME));
  await team.kubectl(["wait", `rookery/${NAME}`, "--for=condition=Ready", "--timeout=90s"]);
  (await team.client()).close();
}

scenario("a team with the role edit in one namespace runs a service by helm", async (s) => {
  const team = await start(s);

  await s.step("it may do nothing in the cluster", async () => {
    const may = await team.kubectl(["auth", "can-i", "get", "clusterroles"]).catch((error) => error.message);
    assert.match(may, /no/);
  });

  await s.step("helm install: the service becomes ready, and a client gets in", async () => {
    const notes = await team.release("install", values(team));
    assert.match(notes, /no operator watches the namespace/);
    await serves(team);
  });

  await s.step("helm upgrade changes it", async () => {
    await team.release("upgrade", values(team, { podTemplate: { labels: { team: "chat" } } }));
    await until("a pod has the label", async () => (await all(team.namespace, "pods", "team=chat")).length === 1);
    await serves(team);
  });

  await s.step("helm test passes", async () => {
    const tested = await team.helm(undefined, "test", NAME, "--timeout", "120s");
    assert.match(tested, /Phase: +Succeeded/);
  });

  await s.step("helm uninstall removes it", async () => {
    await team.helm(undefined, "uninstall", NAME);
    await until("nothing is left", async () => (await all(team.namespace, "deployments,services,ingresses")).length === 0);
    await operator.pods();
  });
});

scenario("a team with the role edit in one namespace runs a service by helm template and kubectl", async (s) => {
  const team = await start(s);
  const objects = await team.helm(values(team), "template", NAME, CHART, "--skip-tests", "--kube-version", "1.34.0");

  await s.step("kubectl apply: the service becomes ready, and a client gets in", async () => {
    await team.kubectl(["apply", "--server-side", "-f", "-"], objects);
    await serves(team);
  });

  await s.step("a second apply changes nothing", async () => {
    const { generation } = (await get(team.namespace, "rookery", NAME)).metadata;
    await team.kubectl(["apply", "--server-side", "-f", "-"], objects);
    assert.equal((await get(team.namespace, "rookery", NAME)).metadata.generation, generation);
  });

  await s.step("kubectl delete removes it", async () => {
    await team.kubectl(["delete", "-f", "-"], objects);
    await until("nothing is left", async () => (await all(team.namespace, "deployments,services,ingresses")).length === 0);
  });
});
