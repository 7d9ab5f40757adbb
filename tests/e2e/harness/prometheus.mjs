// A Prometheus in the cluster that finds pods by their annotations, as its own documentation has it
// for a cluster without the Prometheus operator.
import { PROMETHEUS } from "./images.mjs";
import { apply, kubectl, raw } from "./kubectl.mjs";
import { until } from "./until.mjs";

/** Targets are the pods with `prometheus.io/scrape: "true"`, at the port and the path that they say. */
const config = (namespaces) => ({
  global: { scrape_interval: "2s", scrape_timeout: "2s" },
  scrape_configs: [
    {
      job_name: "pods",
      kubernetes_sd_configs: [{ role: "pod", namespaces: { names: namespaces } }],
      relabel_configs: [
        { action: "keep", source_labels: ["__meta_kubernetes_pod_annotation_prometheus_io_scrape"], regex: "true" },
        {
          action: "replace",
          source_labels: ["__meta_kubernetes_pod_annotation_prometheus_io_path"],
          regex: "(.+)",
          target_label: "__metrics_path__",
        },
        {
          action: "replace",
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
});

export class Prometheus {
  constructor(namespace, name) {
    this.namespace = namespace;
    this.name = name;
  }

  /**
   * Starts one in a namespace, which is to be removed with it; it looks for pods in `seen`.
   * `label` is its `app.kubernetes.io/name`.
   */
  static async start(s, namespace, name, label, seen) {
    const prometheus = new Prometheus(namespace, name);
    await apply(prometheus.#objects(label, seen));
    const cluster = `${namespace}-${name}`;
    s.atEnd(() => kubectl("delete", "clusterrole,clusterrolebinding", cluster, "--ignore-not-found"));
    await until("Prometheus answers", () => prometheus.targets());
    return prometheus;
  }

  /** What an expression gives now: [{metric, value}]. */
  async query(expression) {
    const { data } = await this.#api(`query?query=${encodeURIComponent(expression)}`);
    return data.result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }));
  }

  /** What it scrapes: [{pod, namespace, health, lastError}]. A pod has a target for each port that
   * it declares, all at one address: they are one here. */
  async targets() {
    const { data } = await this.#api("targets?state=active");
    const found = data.activeTargets.map(({ labels, health, lastError }) => [labels.pod, { ...labels, health, lastError }]);
    return [...new Map(found).values()];
  }

  #api(path) {
    return raw(`/api/v1/namespaces/${this.namespace}/pods/${this.name}:9090/proxy/api/v1/${path}`);
  }

  #objects(label, seen) {
    const { namespace, name } = this;
    const cluster = `${namespace}-${name}`;
    const rbac = "rbac.authorization.k8s.io";
    return [
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } },
      {
        apiVersion: `${rbac}/v1`,
        kind: "ClusterRole",
        metadata: { name: cluster },
        rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] }],
      },
      {
        apiVersion: `${rbac}/v1`,
        kind: "ClusterRoleBinding",
        metadata: { name: cluster },
        roleRef: { apiGroup: rbac, kind: "ClusterRole", name: cluster },
        subjects: [{ kind: "ServiceAccount", namespace, name }],
      },
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { namespace, name },
        // JSON is YAML.
        data: { "prometheus.yml": JSON.stringify(config(seen)) },
      },
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { namespace, name, labels: { "app.kubernetes.io/name": label } },
        spec: {
          serviceAccountName: name,
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
