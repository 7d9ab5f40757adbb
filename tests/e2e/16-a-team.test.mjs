// A team that has nothing but the built-in role `edit` in one namespace installs, upgrades, tests and
// removes a service, by helm and by kubectl.
import assert from "node:assert/strict";
import { WEBSOCKET, connected } from "./harness/clients.mjs";
import { CHART } from "./harness/helm.mjs";
import { ROOKERY, parts } from "./harness/images.mjs";
import { ingress } from "./harness/ingress.mjs";
import { all, command, get, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

const NAME = "chat";

/** The team's namespace, and what it may do there. */
class Team {
  static async start(s) {
    await operator.ensure();
    const team = new Team();
    team.namespace = await namespaces.create("team");
    s.watch(team.namespace);
    s.atEnd(() => namespaces.remove(team.namespace));
    team.host = `${NAME}.${team.namespace}.test`;
    team.ingress = await ingress();
    team.user = `system:serviceaccount:${team.namespace}:developer`;
    await kubectl("create", "serviceaccount", "developer", "-n", team.namespace);
    const subject = `--serviceaccount=${team.namespace}:developer`;
    await kubectl("create", "rolebinding", "developer", "-n", team.namespace, "--clusterrole=edit", subject);
    return team;
  }

  /** The values of its service, with these. */
  values(more = {}) {
    return {
      image: parts(ROOKERY),
      ingress: { host: this.host, className: "traefik" },
      anonymous: true,
      drain: { lead: "1s", window: "2s" },
      tests: { ingressAddress: "traefik.traefik.svc" },
      ...more,
    };
  }

  /** helm, as the team. */
  helm(values, ...args) {
    const all = [...args, "--namespace", this.namespace, "--kube-as-user", this.user];
    const input = values === undefined ? undefined : JSON.stringify(values);
    return command("helm", input === undefined ? all : [...all, "--values", "-"], { input, patience: 300_000 });
  }

  /** kubectl, as the team. */
  kubectl(args, input) {
    return command("kubectl", ["--as", this.user, "-n", this.namespace, ...args], { input });
  }

  /** Waits until the resource is ready. */
  async isReady() {
    await until("the resource exists", () => get(this.namespace, "rookery", NAME));
    await this.kubectl(["wait", `rookery/${NAME}`, "--for=condition=Ready", "--timeout=90s"]);
  }

  /** Waits until a new client gets in through the ingress. */
  serves() {
    return until("a client gets in", async () => {
      (await connected(this.ingress, this.host, WEBSOCKET, { patience: 5_000 })).close();
      return true;
    });
  }
}

scenario("a team with the role edit in one namespace runs a service by helm", async (s) => {
  const team = await Team.start(s);

  await s.step("it may do nothing in the cluster", async () => {
    const may = await team.kubectl(["auth", "can-i", "get", "clusterroles"]).catch((error) => error.message);
    assert.match(may, /no/);
  });

  await s.step("helm install: the service becomes ready, and a client gets in", async () => {
    const notes = await team.helm(team.values(), "install", NAME, CHART);
    assert.match(notes, /no operator watches the namespace/);
    await team.isReady();
    await team.serves();
  });

  await s.step("helm upgrade changes it", async () => {
    await team.helm(team.values({ podTemplate: { labels: { team: "chat" } } }), "upgrade", NAME, CHART);
    await until("a pod has the label", async () => (await all(team.namespace, "pods", "team=chat")).length === 1);
    await team.isReady();
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
  const team = await Team.start(s);
  const objects = await team.helm(team.values(), "template", NAME, CHART, "--skip-tests", "--kube-version", "1.34.0");

  await s.step("kubectl apply: the service becomes ready, and a client gets in", async () => {
    await team.kubectl(["apply", "--server-side", "-f", "-"], objects);
    await team.isReady();
    await team.serves();
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
