// A release of the chart in a namespace of its own: `chat`, with two servers and a Redis.
import { CHART, helm, helmWith, merged } from "./helm.mjs";
import { REDIS, ROOKERY, parts } from "./images.mjs";
import { ingress } from "./ingress.mjs";
import { all, get } from "./kubectl.mjs";
import * as clients from "./clients.mjs";
import * as namespaces from "./namespace.mjs";
import { Pod } from "./pod.mjs";
import { Swarm } from "./swarm.mjs";
import { until } from "./until.mjs";

/** The release's name, so the name of its resource and of all that the operator makes for it. */
export const NAME = "chat";

/** What tells a release's servers from its other pods. */
const SERVERS = `app.kubernetes.io/instance=${NAME},app.kubernetes.io/component=server`;

export class Release {
  #pods = new Map();

  /** A namespace for one, empty; `labels` are the namespace's. It is deleted with the scenario. */
  static async prepare(s, topic, labels) {
    const release = new Release();
    release.namespace = await namespaces.create(topic, labels);
    release.host = `${NAME}.${release.namespace}.test`;
    release.ingress = await ingress();
    s.watch(release.namespace);
    s.atEnd(() => release.remove());
    return release;
  }

  /** Installs one with these values beside the usual ones, and waits until it is ready. */
  static async install(s, topic, values = {}) {
    const release = await Release.prepare(s, topic);
    await release.install(values);
    await release.ready(values.replicas?.min);
    await release.linked();
    return release;
  }

  /** `helm install`, with these values beside the usual ones. */
  async install(values = {}) {
    this.values = merged(
      {
        image: parts(ROOKERY),
        redis: { demo: true, image: REDIS },
        ingress: { host: this.host, className: "traefik" },
        operator: { enabled: false },
        // As short as they may be without the ingress losing anybody, so that tests end soon.
        drain: { lead: "3s", window: "10s" },
      },
      values,
    );
    await helmWith(this.values, "install", NAME, CHART, "--namespace", this.namespace);
  }

  /** `helm upgrade`: what it was installed with, and these values. */
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

  /** The pods of its servers, those on their way out too. */
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
   * Waits until `count` servers are ready, no others are left, and the ingress knows them; gives
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
   * Waits until every server is connected to Redis: they are ready without it, as they serve while
   * it is away.
   */
  async linked() {
    await until("every server is connected to Redis", async () => {
      const up = await Promise.all((await this.pods()).map((pod) => pod.metric("rookery_redis_up")));
      return up.every((one) => one === 1);
    });
  }

  /** To how many servers the ingress sends so many requests: it gives each a cookie of its own. */
  async #homes(requests) {
    const cookies = new Set();
    for (let n = 0; n < requests; n++) {
      // No handshake, so no session.
      const { headers } = await this.request("/socket.io/?EIO=none");
      cookies.add(String(headers["set-cookie"]));
    }
    return cookies.size;
  }

  /** A client from outside, connected. */
  async client(s, transports, options) {
    const socket = await clients.connected(this.ingress, this.host, transports, options);
    s.atEnd(async () => socket.close());
    return socket;
  }

  /** A swarm of clients from outside, still without members. */
  swarm(s) {
    const swarm = new Swarm(this.ingress, this.host);
    s.atEnd(async () => swarm.close());
    return swarm;
  }

  /** A request from outside. */
  request(path, options) {
    return this.ingress.request(this.host, path, options);
  }
}

function described(pod) {
  return `${pod.name} (${pod.terminating ? "terminating" : pod.ready ? "ready" : "not ready"})`;
}
