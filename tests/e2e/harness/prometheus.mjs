// A Prometheus in the cluster that scrapes pods by their annotations. It reads the targets from a
// file with the labels of Kubernetes discovery (Prometheus documentation, "Configuration", section
// "kubernetes_sd_config", role `pod`), so that a build without that discovery works too.
import { PROMETHEUS } from "./images.mjs";
import { all, apply, raw } from "./kubectl.mjs";
import { until } from "./until.mjs";

/** Scrapes the pods with `prometheus.io/scrape: "true"`, at their annotated port and path. */
const CONFIG = {
  global: { scrape_interval: "2s", scrape_timeout: "2s", evaluation_interval: "2s" },
  rule_files: ["/etc/prometheus/rules.json"],
  scrape_configs: [
    {
      job_name: "pods",
      file_sd_configs: [{ files: ["/etc/prometheus/pods.json"] }],
      relabel_configs: [
        { action: "keep", source_labels: ["__meta_kubernetes_pod_annotation_prometheus_io_scrape"], regex: "true" },
        {
          source_labels: ["__meta_kubernetes_pod_annotation_prometheus_io_path"],
          regex: "(.+)",
          target_label: "__metrics_path__",
        },
        {
          source_labels: ["__meta_kubernetes_pod_ip", "__meta_kubernetes_pod_annotation_prometheus_io_port"],
          regex: "(.+);(.+)",
          replacement: "$1:$2",
          target_label: "__address__",
        },
        { source_labels: ["__meta_kubernetes_namespace"], target_label: "namespace" },
        { source_labels: ["__meta_kubernetes_pod_name"], target_label: "pod" },
      ],
    },
  ],
};

/** A pod as seen by discovery: one target per declared port. */
function discovered({ metadata, spec, status }) {
  const label = (key) => key.replace(/[^a-zA-Z0-9]/g, "_");
  const annotations = Object.entries(metadata.annotations ?? {});
  const labels = {
    __meta_kubernetes_namespace: metadata.namespace,
    __meta_kubernetes_pod_name: metadata.name,
    __meta_kubernetes_pod_ip: status.podIP,
    ...Object.fromEntries(annotations.map(([key, value]) => [`__meta_kubernetes_pod_annotation_${label(key)}`, value])),
  };
  const ports = spec.containers.flatMap((container) => container.ports ?? []);
  return { targets: ports.map(({ containerPort }) => `${status.podIP}:${containerPort}`), labels };
}

export class Prometheus {
  constructor(namespace, name) {
    this.namespace = namespace;
    this.name = name;
  }

  /**
   * Starts one in a namespace, which is to be removed with it; it is shown the pods of `seen`,
   * namespaces. `label` is its `app.kubernetes.io/name`, `rules` is what its file of rules holds.
   */
  static async start(namespace, name, label, seen, rules = { groups: [] }) {
    const prometheus = new Prometheus(namespace, name);
    const pods = (await Promise.all(seen.map((one) => all(one, "pods")))).flat();
    await apply(prometheus.#objects(label, pods.map(discovered), rules));
    await until("Prometheus answers", () => prometheus.targets());
    return prometheus;
  }

  /** The current result of an expression: [{metric, value}]. */
  async query(expression) {
    const { data } = await this.#api(`query?query=${encodeURIComponent(expression)}`);
    return data.result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }));
  }

  /** Its targets: [{pod, namespace, health, lastError}]. The targets of a pod's declared ports all
   * have one address and are merged. */
  async targets() {
    const { data } = await this.#api("targets?state=active");
    const found = data.activeTargets.map(({ labels, health, lastError }) => [labels.pod, { ...labels, health, lastError }]);
    return [...new Map(found).values()];
  }

  #api(path) {
    return raw(`/api/v1/namespaces/${this.namespace}/pods/${this.name}:9090/proxy/api/v1/${path}`);
  }

  #objects(label, pods, rules) {
    const { namespace, name } = this;
    return [
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { namespace, name },
        // JSON is YAML.
        data: { "prometheus.yml": JSON.stringify(CONFIG), "pods.json": JSON.stringify(pods), "rules.json": JSON.stringify(rules) },
      },
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { namespace, name, labels: { "app.kubernetes.io/name": label } },
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: "prometheus",
              image: PROMETHEUS,
              imagePullPolicy: "IfNotPresent",
              args: ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
              ports: [{ name: "web", containerPort: 9090 }],
              volumeMounts: [
                { name: "config", mountPath: "/etc/prometheus" },
                { name: "data", mountPath: "/data" },
              ],
            },
          ],
          securityContext: { runAsNonRoot: true, runAsUser: 65534, fsGroup: 65534 },
          volumes: [
            { name: "config", configMap: { name } },
            { name: "data", emptyDir: {} },
          ],
        },
      },
    ];
  }
}
