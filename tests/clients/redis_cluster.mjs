// A Redis Cluster of three primaries with a replica each, for one test.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Cluster as IoCluster } from "ioredis";
import { createCluster } from "redis";
import { freePort, until } from "./harness.mjs";
import { OpenAccess } from "./redis_access.mjs";
import { RedisProcess } from "./redis_process.mjs";

const PRIMARIES = 3;
const run = promisify(execFile);

export class RedisCluster {
  #access;

  static async start(t, access = new OpenAccess()) {
    const cluster = new RedisCluster();
    cluster.#access = access;
    cluster.servers = [];
    for (let index = 0; index < 2 * PRIMARIES; index++) {
      cluster.servers.push(await server(t, access));
    }
    const addresses = cluster.servers.map(({ port }) => `127.0.0.1:${port}`);
    const create = ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"];
    await run("redis-cli", [...access.cli, ...create]);
    await cluster.isWhole();
    return cluster;
  }

  /** Waits until every server runs and knows every slot, and each primary has its replica. */
  isWhole() {
    return until("every server knows every slot", async () => {
      const all = await Promise.all(this.servers.map((server) => server.json("cluster", "slots")));
      const hasAll = all.every((ranges) => {
        const primaries = new Set(ranges.map(([, , [, port]]) => port));
        return primaries.size === PRIMARIES && ranges.every((range) => range.length === 4);
      });
      const infos = await Promise.all(this.servers.map((server) => server.cli("info", "replication")));
      return hasAll && infos.every((info) => /state=online|master_link_status:up/.test(info));
    });
  }

  /** The URL that Rookery is given. */
  get url() {
    return `redis${this.#access.scheme}-cluster://${this.servers.slice(0, 2).map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
  }

  /** What an instance needs in its section `redis`, beside the URL. */
  get login() {
    return this.#access.config();
  }

  /** A client of the whole Cluster, not connected yet. */
  client() {
    return createCluster({ rootNodes: this.servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) });
  }

  /** The same of ioredis: it asks who owns the slots, and sends nothing twice. */
  ioredis() {
    const nodes = this.servers.map(({ port }) => ({ host: "127.0.0.1", port }));
    const options = { shardedSubscribers: true, slotsRefreshInterval: 1_000, retryDelayOnFailover: 0 };
    return new IoCluster(nodes, { ...options, redisOptions: this.#access.ioredis });
  }

  /** Those that were not killed, and do not hang. */
  get running() {
    return this.servers.filter(({ answers }) => answers);
  }

  /** The sum of what all servers answer to `PUBSUB command channel`. */
  async count(command, channel) {
    const counts = this.running.map((server) => server.json("pubsub", command, channel));
    const answers = await Promise.all(counts);
    return answers.reduce((sum, answer) => sum + Number(Array.isArray(answer) ? answer[1] : answer[channel]), 0);
  }

  /** The server that owns the slot of a channel. */
  async owner(channel) {
    const [asked] = this.running;
    const slot = Number(await asked.cli("cluster", "keyslot", channel));
    const ranges = await asked.json("cluster", "slots");
    const [, , [, owner]] = ranges.find(([first, last]) => first <= slot && slot <= last);
    return { slot, server: this.servers.find(({ port }) => port === owner) };
  }

  /** A server where an instance has subscribed a channel, on the classic wire. */
  async subscribed(channel) {
    const counts = await Promise.all(this.running.map((server) => server.json("pubsub", "numsub", channel)));
    return this.running.find((_, index) => Number(counts[index][1] ?? counts[index][channel]) > 0);
  }

  /** Waits until all that run know others as the owners of the slots of a server that was killed, or hangs. */
  replaced(old) {
    return until("a replica takes over", async () => {
      const all = await Promise.all(this.running.map((server) => server.json("cluster", "slots")));
      return all.every((ranges) => ranges.every(([, , [, port]]) => port !== old.port));
    });
  }

  /** Moves the slot of a channel to another primary, as `redis-cli --cluster reshard` does. */
  async move(channel) {
    const { slot, server: from } = await this.owner(channel);
    const ranges = await from.json("cluster", "slots");
    const [, , [, port, newId]] = ranges.find(([, , [, port]]) => port !== from.port);
    const to = this.servers.find((server) => server.port === port);
    const oldId = await from.cli("cluster", "myid");
    await to.cli("cluster", "setslot", slot, "importing", oldId);
    await from.cli("cluster", "setslot", slot, "migrating", newId);
    await to.cli("cluster", "setslot", slot, "node", newId);
    await from.cli("cluster", "setslot", slot, "node", newId);
  }
}

/** A server that may join a Cluster. */
function server(t, access) {
  return RedisProcess.start(t, access, async () => [
    'save ""',
    "appendonly no",
    "cluster-enabled yes",
    `cluster-port ${await freePort()}`,
    "cluster-node-timeout 2000",
    "cluster-replica-validity-factor 0",
    "repl-diskless-sync-delay 0",
    ...access.ofServer({ isInCluster: true }),
  ]);
}
