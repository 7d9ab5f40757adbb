// A Redis Cluster of three primaries with a replica each, for one test.
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { createCluster } from "redis";
import { atEnd, directory, freePort, until } from "./harness.mjs";

const PRIMARIES = 3;
const run = promisify(execFile);

export class RedisCluster {
  static async start(t) {
    const cluster = new RedisCluster();
    cluster.servers = [];
    for (let index = 0; index < 2 * PRIMARIES; index++) {
      cluster.servers.push(await server(t));
    }
    const addresses = cluster.servers.map(({ port }) => `127.0.0.1:${port}`);
    const create = ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"];
    await run("redis-cli", create);
    await until("every server knows every slot", async () => {
      const all = await Promise.all(cluster.servers.map(({ port }) => json(port, "cluster", "slots")));
      return all.every((ranges) => {
        return ranges.length === PRIMARIES && ranges.every((range) => range.length === 4);
      });
    });
    return cluster;
  }

  /** The URL that Rookery is given. */
  get url() {
    return `redis-cluster://${this.servers.slice(0, 2).map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
  }

  /** A client of the whole Cluster, not connected yet. */
  client() {
    return createCluster({ rootNodes: this.servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) });
  }

  /** The sum of what all servers answer to `PUBSUB command channel`. */
  async count(command, channel) {
    const counts = this.servers.map(({ port }) => json(port, "pubsub", command, channel));
    const answers = await Promise.all(counts);
    return answers.reduce((sum, answer) => sum + Number(Array.isArray(answer) ? answer[1] : answer[channel]), 0);
  }

  /** The server that owns the slot of a channel. */
  async owner(channel) {
    const { port } = this.servers[0];
    const slot = Number(await cli(port, "cluster", "keyslot", channel));
    const ranges = await json(port, "cluster", "slots");
    const [, , [, owner]] = ranges.find(([first, last]) => first <= slot && slot <= last);
    return { slot, server: this.servers.find((server) => server.port === owner) };
  }

  /** Moves the slot of a channel to another primary, as `redis-cli --cluster reshard` does. */
  async move(channel) {
    const { slot, server: from } = await this.owner(channel);
    const ranges = await json(from.port, "cluster", "slots");
    const [, , [, to, newId]] = ranges.find(([, , [, port]]) => port !== from.port);
    const oldId = (await cli(from.port, "cluster", "myid")).trim();
    await cli(to, "cluster", "setslot", slot, "importing", oldId);
    await cli(from.port, "cluster", "setslot", slot, "migrating", newId);
    await cli(to, "cluster", "setslot", slot, "node", newId);
    await cli(from.port, "cluster", "setslot", slot, "node", newId);
  }
}

/** A server that may join a Cluster, killed at the end of the test. */
async function server(t) {
  const folder = await directory(t);
  for (let tries = 0; ; tries++) {
    const [port, bus] = [await freePort(), await freePort()];
    const options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder];
    options.push("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", 2000);
    options.push("--repl-diskless-sync-delay", 0);
    const child = spawn("redis-server", options.map(String), { stdio: "ignore" });
    atEnd(t, () => void child.kill("SIGKILL"));
    const answers = async () => child.exitCode !== null || (await cli(port, "ping").catch(() => false));
    await until("redis-server answers", answers);
    if (child.exitCode === null) return { port, child };
    if (tries === 5) throw new Error("redis-server does not start");
  }
}

async function cli(port, ...words) {
  const { stdout } = await run("redis-cli", ["-p", port, ...words].map(String));
  return stdout;
}

async function json(port, ...words) {
  const { stdout } = await run("redis-cli", ["-p", port, "--json", ...words].map(String));
  return JSON.parse(stdout);
}
