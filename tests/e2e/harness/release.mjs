// A release of the chart in a namespace of its own: `chat`, with two pods and a Redis.
import { CHART, helm, helmWith, merged } from "./helm.mjs";
import { REDIS, ROOKERY, parts } from "./images.mjs";
import { ingress } from "./ingress.mjs";
import { all, get } from "./kubectl.mjs";
import * as clients from "./clients.mjs";
import * as namespaces from "./namespace.mjs";
import { Pod } from "./pod.mjs";
import { Swarm } from "./swarm.mjs";
import { until } from "./until.mjs";

/** The name of the release, its resource and the objects that the operator creates. */
export const NAME = "chat";

/** The label selector of a release's Rookery pods. */
const SERVERS = `app.kubernetes.io/instance=${NAME},app.kubernetes.io/component=server`;

export class Release {
  #pods = new Map();

  /** An empty namespace for a release, deleted with the scenario; `labels` are the namespace's. */
  static async prepare(s, topic, labels) {
    const release = new Release();
    release.namespace = await namespaces.create(topic, labels);
    release.host = `${NAME}.${release.namespace}.test`;
    release.ingress = await ingress();
    s.watch(release.namespace);
    s.atEnd(() => release.remove());
    return release;
  }

  /** Installs a release with additional values, and waits until it is ready. */
  static async install(s, topic, values = {}) {
    const release = await Release.prepare(s, topic);
    await release.install(values);
    await release.ready(values.replicas?.min);
    await release.linked();
    return release;
  }

  /** `helm install` with additional values. */
  async install(values = {}) {
    this.values = merged(
      {
        image: parts(ROOKERY),
        redis: { demo: true, image: REDIS },
        ingress: { host: this.host, className: "traefik" },
        anonymous: true,
        // As short as possible without the ingress losing clients, so that tests are fast.
        drain: { lead: "3s", window: "10s" },
      },
      values,
    );
    await helmWith(this.values, "install", NAME, CHART, "--namespace", this.namespace);
  }

  /** `helm upgrade` with the installed values and these. */
  async upgrade(values) {
    this.values = merged(this.values, values);
    await helmWith(this.values, "upgrade", NAME, CHART, "--namespace", this.namespace);
  }

  async uninstall() {
    await helm("uninstall", NAME, "--namespace", this.namespace, "--ignore-not-found");
  }

  /** Uninstalls it and deletes the namespace. */
  async remove() {
    for (const pod of this.#pods.values()) pod.close();
    await this.uninstall();
    await namespaces.remove(this.namespace);
  }

  /** Its `Rookery` resource. */
  resource() {
    return get(this.namespace, "rookery", NAME);
  }

  deployment() {
    return get(this.namespace, "deployment", NAME);
  }

  /** Its Rookery pods, including terminating ones. */
  async pods() {
    const objects = await all(this.namespace, "pods", SERVERS);
    return objects.map((object) => {
      const known = this.#pods.get(object.metadata.uid);
      const pod = known === undefined ? new Pod(object) : Object.assign(known, { object });
      this.#pods.set(object.metadata.uid, pod);
      return pod;
    });
  }

  /**
   * Waits until `count` pods are ready, no others are left, and the ingress knows them; returns
   * them.
   */
  async ready(count = 2, options) {
    let pods = [];
    const what = () => `${count} servers are ready and alone; there are: ${pods.map(described).join(", ")}`;
    await until(
      what,
      async () => {
        pods = await this.pods();
        return pods.length === count && pods.every((pod) => pod.ready);
      },
      { every: 500, ...options },
    );
    await until(`the ingress goes to ${count} servers`, async () => (await this.#homes(2 * count)) === count);
    return pods;
  }

  /**
   * Waits until every pod is connected to Redis: they are ready without it, because they serve while
   * it is unavailable.
   */
  async linked() {
    await until("every server is connected to Redis", async () => {
      const up = await Promise.all((await this.pods()).map((pod) => pod.metric("rookery_redis_up")));
      return up.every((one) => one === 1);
    });
  }

  /** To how many pods the ingress routes a number of requests, each with a cookie of its own. */
  async #homes(requests) {
    const cookies = new Set();
    for (let n = 0; n < requests; n++) {
      // No handshake, so no session.
      const { headers } = await this.request("/socket.io/?EIO=none");
      cookies.add(String(headers["set-cookie"]));
    }
    return cookies.size;
  }

  /** A connected client outside the cluster. */
  async client(s, transports, options) {
    const socket = await clients.connected(this.ingress, this.host, transports, options);
    s.atEnd(async () => socket.close());
    return socket;
  }

  /** An empty swarm of clients outside the cluster. */
  swarm(s) {
    const swarm = new Swarm(this.ingress, this.host);
    s.atEnd(async () => swarm.close());
    return swarm;
  }

  /** A request from outside the cluster. */
  request(path, options) {
    return this.ingress.request(this.host, path, options);
  }
}

function described(pod) {
  return `${pod.name} (${pod.terminating ? "terminating" : pod.ready ? "ready" : "not ready"})`;
}
