// A primary with two replicas that three sentinels watch, for one test.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { Redis as IoRedis } from "ioredis";
import { until } from "./harness.mjs";
import { RedisProcess } from "./redis_process.mjs";

const NAME = "mymaster";

export class RedisSentinels {
  static async start(t) {
    const redis = new RedisSentinels();
    redis.servers = [await server(t)];
    const [{ port: primary }] = redis.servers;
    for (let n = 0; n < 2; n++) redis.servers.push(await server(t, primary));
    await until("the replicas follow", async () => {
      return (await redis.servers[0].cli("info", "replication")).split("state=online").length === 3;
    });
    redis.sentinels = [];
    for (let n = 0; n < 3; n++) redis.sentinels.push(await sentinel(t, primary));
    await until("each sentinel knows the others and both replicas", async () => {
      const known = redis.sentinels.flatMap((sentinel) => {
        return ["sentinels", "replicas"].map((list) => sentinel.json("sentinel", list, NAME));
      });
      return (await Promise.all(known)).every((list) => list.length === 2);
    });
    return redis;
  }

  /** The URL that Rookery is given. */
  get url() {
    return `redis-sentinel://${this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/${NAME}`;
  }

  /** A client of ioredis that follows the primary, and sends nothing twice. */
  ioredis() {
    const sentinels = this.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
    return new IoRedis({ sentinels, name: NAME, autoResendUnfulfilledCommands: false });
  }

  /** The primary, as all sentinels have it; `undefined` while they do not agree. */
  async primary() {
    const named = this.sentinels.map((sentinel) => sentinel.json("sentinel", "get-master-addr-by-name", NAME));
    const ports = (await Promise.all(named)).map(([, port]) => Number(port));
    return ports.every((port) => port === ports[0]) ? this.servers.find(({ port }) => port === ports[0]) : undefined;
  }

  /** Waits until the sentinels have put another server in the place of this one. */
  async replaced(old) {
    await until("the sentinels name another primary", async () => {
      const primary = await this.primary();
      return primary !== undefined && primary !== old;
    });
  }
}

function server(t, primary) {
  return RedisProcess.start(t, (port, folder) => {
    const words = ["--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"];
    words.push("--repl-diskless-sync-delay", 0, "--replica-announce-ip", "127.0.0.1");
    return primary ? [...words, "--replicaof", "127.0.0.1", primary] : words;
  });
}

function sentinel(t, primary) {
  return RedisProcess.start(t, async (port, folder) => {
    const file = path.join(folder, "sentinel.conf");
    const lines = [
      "bind 127.0.0.1",
      `port ${port}`,
      `dir ${folder}`,
      `sentinel monitor ${NAME} 127.0.0.1 ${primary} 2`,
      `sentinel down-after-milliseconds ${NAME} 1000`,
      `sentinel failover-timeout ${NAME} 5000`,
    ];
    await writeFile(file, lines.map((line) => `${line}\n`).join(""));
    return [file, "--sentinel"];
  });
}
