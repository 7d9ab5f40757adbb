// How a test's Redis servers are reached: by anybody, or by TLS with client certificates of the test's own authority, and
// by users with the rights that docs/redis.md gives.
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { directory } from "./harness.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const key = (name) => path.join(here, "../keys/redis", name);

/** The password of the default user, by which the servers, the test and Node servers log in. */
const ADMIN = "admin";
const PASSWORD = "secret";
const SENTINELS_PASSWORD = "other secret";

/** What docs/redis.md adds to a user's rights on a Cluster. */
const ON_A_CLUSTER = "+cluster|slots +asking";

/** The rights of the document's first user that has this one. */
function documented(right) {
  const text = readFileSync(path.join(here, "../../docs/redis.md"), "utf8");
  const rules = text.split("\n").filter((line) => line.startsWith("ACL SETUSER rookery on >PASSWORD "));
  const rule = rules.find((line) => line.split(" ").includes(right));
  if (!rule) throw new Error(`docs/redis.md gives no user with ${right}`);
  return rule.split(">PASSWORD ")[1];
}

/** Servers for anybody. */
export class OpenAccess {
  scheme = "";

  /** The words of redis-cli, before the port. */
  cli = [];

  /** The options of ioredis for a server. */
  ioredis = {};

  /** What it adds to the section `redis` of an instance. */
  config() {
    return {};
  }

  /** The lines of a server's configuration by which it listens. */
  listener(port) {
    return [`port ${port}`];
  }

  ofServer() {
    return [];
  }

  ofSentinel() {
    return [];
  }
}

/** Servers that ask for certificates and passwords. */
export class SecuredAccess extends OpenAccess {
  scheme = "s";
  cli = ["--tls", "--cacert", key("ca.pem"), "--cert", key("client.pem"), "--key", key("client.key")];
  #files;
  #wire;

  /** `wire` is that of the instances. */
  static async start(t, wire) {
    const access = new SecuredAccess();
    access.#wire = wire;
    const folder = await directory(t);
    access.#files = { passwordFile: path.join(folder, "password"), sentinels: path.join(folder, "sentinels") };
    await writeFile(access.#files.passwordFile, `${PASSWORD}\n`);
    await writeFile(access.#files.sentinels, `${SENTINELS_PASSWORD}\n`);
    access.cli.push("-a", ADMIN, "--no-auth-warning");
    const [ca, cert, own] = ["ca.pem", "client.pem", "client.key"].map((name) => readFileSync(key(name)));
    access.ioredis = { password: ADMIN, tls: { ca, cert, key: own } };
    return access;
  }

  config({ withSentinels = false } = {}) {
    const { passwordFile, sentinels } = this.#files;
    const tls = { caFile: key("ca.pem"), certFile: key("client.pem"), keyFile: key("client.key") };
    const sentinel = { username: "rookery", passwordFile: sentinels };
    return { username: "rookery", passwordFile, tls, ...(withSentinels ? { sentinel } : {}) };
  }

  listener(port) {
    const files = [`tls-cert-file ${key("server.pem")}`, `tls-key-file ${key("server.key")}`, `tls-ca-cert-file ${key("ca.pem")}`];
    return ["port 0", `tls-port ${port}`, "tls-replication yes", "tls-auth-clients yes", ...files];
  }

  /** What a server has more: its users. */
  ofServer({ isInCluster = false } = {}) {
    const rights = [documented(this.#wire === "sharded" ? "+spublish" : "+publish")];
    if (isInCluster) rights.push(ON_A_CLUSTER);
    const own = [`requirepass ${ADMIN}`, `masterauth ${ADMIN}`, ...(isInCluster ? ["tls-cluster yes"] : [])];
    return [...own, `user rookery on >${PASSWORD} ${rights.join(" ")}`];
  }

  /** What a sentinel has more, after the primary's name. */
  ofSentinel(name) {
    const user = `user rookery on ">${SENTINELS_PASSWORD}" ${documented("+sentinel|master")}`;
    return [`sentinel auth-pass ${name} ${ADMIN}`, `requirepass ${ADMIN}`, `sentinel sentinel-pass ${ADMIN}`, user];
  }
}
