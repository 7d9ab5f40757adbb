// Access to the cluster's nodes, for what kubectl cannot do. It works if they are containers of the
// Docker Engine at DOCKER_HOST, as with kind.
import { BlockList } from "node:net";
import { networkInterfaces } from "node:os";
import { command, kubectl } from "./kubectl.mjs";
import { until } from "./until.mjs";

const MANIFEST = "kube-apiserver.yaml";
const MANIFESTS = "/etc/kubernetes/manifests";

/** Where the API server's manifest is kept while it is stopped. */
const ASIDE = "/root";

/** Why the nodes are not accessible; false if they are. */
export async function closed() {
  try {
    await inside(await controlPlane(), "test", "-x", "/bin/sh");
    return false;
  } catch (error) {
    const reason = error.message.split("\n")[0];
    return `the nodes are no containers that this machine reaches by docker exec (${reason})`;
  }
}

/** This machine's address in the nodes' network, at which pods reach it; undefined if it is not in that network. */
export async function hostAddress() {
  const path = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}';
  const node = await kubectl("get", "nodes", "-o", path);
  const isBeside = ({ family, address, cidr }) => {
    if (family !== "IPv4" || cidr === null) return false;
    const network = new BlockList();
    network.addSubnet(address, Number(cidr.split("/")[1]));
    return network.check(node);
  };
  return Object.values(networkInterfaces()).flat().find(isBeside)?.address;
}

/** Runs a command on a node and returns its output. */
export function inside(node, ...words) {
  return command("docker", ["exec", node, ...words]);
}

/** Sends a signal (`KILL`, `STOP`) to a pod's process, by the name of its program. */
export async function signal(pod, program, name) {
  // The kubelet names a pod's control group by its uid, with _ for - where systemd makes them.
  const uid = pod.metadata.uid.replaceAll("-", "[-_]");
  const script = `
    for group in $(grep -l "pod${uid}" /proc/[0-9]*/cgroup 2>/dev/null); do
      process=\${group%/cgroup}
      [ "$(cat $process/comm)" = ${program} ] && kill -${name} \${process#/proc/} && found=1
    done
    [ -n "$found" ]`;
  await inside(pod.spec.nodeName, "sh", "-c", script);
}

/** The API server: kubeadm's, a static pod of the control plane's node. */
export class ApiServer {
  #node;

  static async find() {
    const server = new ApiServer();
    server.#node = await controlPlane();
    return server;
  }

  /** Stops it, and waits until it no longer responds. */
  async stop() {
    await inside(this.#node, "mv", `${MANIFESTS}/${MANIFEST}`, `${ASIDE}/${MANIFEST}`);
    await until("the API server has stopped", async () => !(await this.#answers()));
  }

  /** Starts it again if it is stopped, and waits until it is ready. */
  async start() {
    const back = `test ! -e ${ASIDE}/${MANIFEST} || mv ${ASIDE}/${MANIFEST} ${MANIFESTS}/${MANIFEST}`;
    await inside(this.#node, "sh", "-c", back);
    await until("the API server is ready again", () => this.#answers(), { patience: 180_000, every: 1000 });
  }

  async #answers() {
    return kubectl("get", "--raw", "/readyz", "--request-timeout=2s").then(
      () => true,
      () => false,
    );
  }
}

async function controlPlane() {
  const path = "jsonpath={.items[0].metadata.name}";
  return kubectl("get", "nodes", "-l", "node-role.kubernetes.io/control-plane", "-o", path);
}
