// A primary with two replicas that three sentinels watch, for one test.
import { Redis as IoRedis } from "ioredis";
import { until } from "./harness.mjs";
import { OpenAccess } from "./redis_access.mjs";
import { RedisProcess } from "./redis_process.mjs";

const NAME = "mymaster";

export class RedisSentinels {
  #access;

  static async start(t, access = new OpenAccess()) {
    const redis = new RedisSentinels();
    redis.#access = access;
    redis.servers = [await server(t, access)];
    const [{ port: primary }] = redis.servers;
    for (let n = 0; n < 2; n++) redis.servers.push(await server(t, access, primary));
    await until("the replicas follow", async () => {
      return (await redis.servers[0].cli("info", "replication")).split("state=online").length === 3;
    });
    redis.sentinels = [];
    for (let n = 0; n < 3; n++) redis.sentinels.push(await sentinel(t, access, primary));
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
    return `redis${this.#access.scheme}-sentinel://${this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/${NAME}`;
  }

  /** What an instance needs in its section `redis`, beside the URL. */
  get login() {
    return this.#access.config({ withSentinels: true });
  }

  /** A client of ioredis that follows the primary, and sends nothing twice. */
  ioredis() {
    const sentinels = this.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
    const { password, tls } = this.#access.ioredis;
    const secured = tls && { password, tls, sentinelPassword: password, sentinelTLS: tls, enableTLSForSentinelMode: true };
    return new IoRedis({ sentinels, name: NAME, autoResendUnfulfilledCommands: false, ...secured });
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

function server(t, access, primary) {
  return RedisProcess.start(t, access, () => {
    const lines = ['save ""', "appendonly no", "repl-diskless-sync-delay 0", "replica-announce-ip 127.0.0.1", ...access.ofServer()];
    return primary ? [...lines, `replicaof 127.0.0.1 ${primary}`] : lines;
  });
}

function sentinel(t, access, primary) {
  const options = () => [
    `sentinel monitor ${NAME} 127.0.0.1 ${primary} 2`,
    `sentinel down-after-milliseconds ${NAME} 1000`,
    `sentinel failover-timeout ${NAME} 5000`,
    ...access.ofSentinel(NAME),
  ];
  return RedisProcess.start(t, access, options, ["--sentinel"]);
}
