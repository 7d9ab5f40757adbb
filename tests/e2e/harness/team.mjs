// A team that has nothing but the built-in role `edit` in one namespace.
import { WEBSOCKET, connected } from "./clients.mjs";
import { CHART } from "./helm.mjs";
import { ingress } from "./ingress.mjs";
import { all, command, isReady, kubectl } from "./kubectl.mjs";
import * as namespaces from "./namespace.mjs";
import { until } from "./until.mjs";

/** The name of its service. */
export const NAME = "chat";

/** The label selector of the service's pods. */
const SERVERS = `app.kubernetes.io/instance=${NAME},app.kubernetes.io/component=server`;

export class Team {
  /** A namespace with a ServiceAccount that may edit it; deleted with the scenario. */
  static async start(s, topic) {
    const team = new Team();
    team.namespace = await namespaces.create(topic);
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

  /** helm, as the team, with a tree of values on its standard input. */
  helm(values, ...args) {
    const all = [...args, "--namespace", this.namespace, "--kube-as-user", this.user];
    const input = values === undefined ? undefined : JSON.stringify(values);
    return command("helm", input === undefined ? all : [...all, "--values", "-"], { input, patience: 300_000 });
  }

  /** `helm install` or `helm upgrade` of its service. */
  release(verb, values, ...args) {
    return this.helm(values, verb, NAME, CHART, ...args);
  }

  /** kubectl, as the team. */
  kubectl(args, input) {
    return command("kubectl", ["--as", this.user, "-n", this.namespace, ...args], { input });
  }

  /** One object of its namespace, as the team sees it. */
  async object(kind, name = NAME) {
    return JSON.parse(await this.kubectl(["get", kind, name, "-o", "json"]));
  }

  /** The service's pods, including terminating ones. */
  pods() {
    return all(this.namespace, "pods", SERVERS);
  }

  /** Waits until the rollout has ended and `count` pods are ready and alone; returns their names. */
  async isReady(count = 2) {
    await this.kubectl(["rollout", "status", `deployment/${NAME}`, "--timeout=150s"]);
    return until(
      `${count} pods are ready and alone`,
      async () => {
        const pods = await this.pods();
        return pods.length === count && pods.every(isReady) && pods.map((pod) => pod.metadata.name).sort();
      },
      { every: 500 },
    );
  }

  /** A new client, through the ingress. */
  client() {
    return until("a client gets in", () => connected(this.ingress, this.host, WEBSOCKET, { patience: 5_000 }));
  }
}
