// Another server of custom metrics, which runs next to the tests, outside the cluster, and reports the
// same `connections` for every pod. It serves an older version of the group than ours, like
// prometheus-adapter.
import { readFile } from "node:fs/promises";
import https from "node:https";
import net from "node:net";
import { all, apply, get, kubectl } from "./kubectl.mjs";
import * as namespaces from "./namespace.mjs";
import { until } from "./until.mjs";

/** The APIService's name. */
export const NAME = "v1beta1.custom.metrics.k8s.io";

/** The name of the operator's APIService, which it can take over. */
export const OURS = "v1beta2.custom.metrics.k8s.io";

const GROUP = "custom.metrics.k8s.io";
const ROOT = new RegExp(`^/apis/${GROUP}/(v1beta[12])`);
const METRIC = /^\/namespaces\/([^/]+)\/pods\/(?:\*|%2A)\/rookery_connections$/i;

export class OtherMetrics {
  /** The value that it reports for each pod. */
  connections = 0;

  /** Starts it, and waits until the API server can reach it. */
  static async start(s) {
    const other = new OtherMetrics();
    other.namespace = await namespaces.create("other-metrics");
    s.watch(other.namespace);
    s.atEnd(() => other.stop());
    await other.#listen();
    await apply(other.#objects(await hostAddress()));
    await until("the other metrics server is available", async () => {
      const { status } = await other.apiService();
      return status?.conditions?.some(({ type, status }) => type === "Available" && status === "True");
    });
    return other;
  }

  /** Its complete APIService. */
  apiService() {
    return get("default", "apiservice", NAME);
  }

  /** Takes over the operator's APIService, as an adapter's manifest of the same name does. */
  async takeOver() {
    const spec = { ...this.#apiService("v1beta2").spec, caBundle: null };
    await kubectl("patch", "apiservice", OURS, "--type=merge", "--field-manager=adapter", "-p", JSON.stringify({ spec }));
  }

  /** Removes its APIService. */
  async remove() {
    await kubectl("delete", "apiservice", NAME, "--ignore-not-found");
  }

  async stop() {
    await this.remove();
    await namespaces.remove(this.namespace);
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async #listen() {
    const key = (name) => readFile(new URL(`../../keys/${name}`, import.meta.url));
    const [cert, secret] = await Promise.all([key("rsa.cert.pem"), key("rsa.pem")]);
    this.server = https.createServer({ cert, key: secret }, (request, response) => {
      this.#answer(request.url).then(
        (body) => {
          response.writeHead(body ? 200 : 404, { "content-type": "application/json" });
          response.end(JSON.stringify(body ?? { kind: "Status", apiVersion: "v1", status: "Failure", code: 404 }));
        },
        (error) => response.writeHead(500).end(error.message),
      );
    });
    await new Promise((resolve) => this.server.listen(0, resolve));
  }

  async #answer(url) {
    const { pathname, searchParams } = new URL(url, "https://other");
    const [, version] = ROOT.exec(pathname) ?? [];
    const path = pathname.replace(ROOT, "");
    if (path === "" && version !== undefined) {
      const pods = { name: "pods/rookery_connections", singularName: "", namespaced: true, kind: "MetricValueList", verbs: ["get"] };
      return { kind: "APIResourceList", apiVersion: "v1", groupVersion: `${GROUP}/${version}`, resources: [pods] };
    }
    const [, namespace] = METRIC.exec(path) ?? [];
    if (namespace === undefined) return undefined;
    const pods = await all(namespace, "pods", searchParams.get("labelSelector") ?? "");
    const timestamp = new Date().toISOString().replace(/\.\d+/, "");
    const items = pods.map(({ metadata: { name } }) => ({
      describedObject: { kind: "Pod", namespace, name, apiVersion: "/v1" },
      metricName: "rookery_connections",
      timestamp,
      value: String(this.connections),
      selector: null,
    }));
    return { kind: "MetricValueList", apiVersion: `${GROUP}/v1beta1`, metadata: {}, items };
  }

  #objects(address) {
    const { namespace } = this;
    const { port } = this.server.address();
    return [
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "metrics", namespace },
        spec: { ports: [{ port: 443, targetPort: port }] },
      },
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: "metrics", namespace, labels: { "kubernetes.io/service-name": "metrics" } },
        addressType: "IPv4",
        endpoints: [{ addresses: [address] }],
        ports: [{ name: "", port, protocol: "TCP" }],
      },
      this.#apiService("v1beta1"),
    ];
  }

  #apiService(version) {
    return {
      apiVersion: "apiregistration.k8s.io/v1",
      kind: "APIService",
      metadata: { name: `${version}.${GROUP}` },
      spec: {
        group: GROUP,
        version,
        groupPriorityMinimum: 100,
        versionPriority: 100,
        insecureSkipTLSVerify: true,
        service: { name: "metrics", namespace: this.namespace, port: 443 },
      },
    };
  }
}

/** This machine's address as seen from the nodes: E2E_HOST_ADDRESS, or that of the route to them. */
async function hostAddress() {
  if (process.env.E2E_HOST_ADDRESS) return process.env.E2E_HOST_ADDRESS;
  const path = '{.items[0].status.addresses[?(@.type=="InternalIP")].address}';
  const node = await kubectl("get", "nodes", "-o", `jsonpath=${path}`);
  return new Promise((resolve, reject) => {
    // Every node's kubelet listens there.
    const socket = net.connect(10250, node, () => {
      resolve(socket.localAddress);
      socket.destroy();
    });
    socket.once("error", reject);
  });
}
