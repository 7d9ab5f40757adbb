// The setup for the monitoring tests and the pictures: two instances that share a Redis, an operator, a
// real Prometheus that scrapes all three every second and evaluates the chart's rules, and clients of
// every kind. Also used by scripts/pictures.mjs.
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Instance, Redis, ask, atEnd, connected, connecting, directory, freePort, join, kind, until } from "../clients/harness.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const binary = process.env.ROOKERY_BIN ?? path.join(root, "target/debug/rookery");

/** Pod names as a Deployment would give them. */
export const PODS = ["chat-7d9f8b6c5-abcde", "chat-7d9f8b6c5-fghij"];

/** Two classes of rooms, a pinned room, and limits that can be reached. */
const CONFIG = {
  rooms: [{ match: "secret:{name}", join: "false" }, { match: "board:{name}" }, { match: "{workspace}:{app}" }],
  limits: { connections: 60, queue: "64KiB", writeStall: "1s" },
  latency: { trackRooms: ["board:news"] },
  drain: { lead: "1s", window: "1s" },
};

/** A backend that acknowledges whatever it is asked; returns its URL. */
async function backend(t) {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { "content-type": "application/json" });
    response.end("{}");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

/** An HTTP server that answers every request with "not found": enough of a cluster for an operator to run. */
async function emptyCluster(t) {
  const server = createServer((_, response) => {
    response.writeHead(404, { "content-type": "application/json" });
    response.end(JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", message: "not found", code: 404 }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => server.close());
  return server.address().port;
}

/** A real `rookery operator`; returns the address of its metrics. */
async function operator(t) {
  const file = path.join(await directory(t), "kubeconfig");
  const cluster = { server: `http://127.0.0.1:${await emptyCluster(t)}` };
  const context = { cluster: "empty", user: "nobody" };
  await writeFile(
    file,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "empty", cluster }],
      users: [{ name: "nobody", user: { token: "none" } }],
      contexts: [{ name: "empty", context }],
      "current-context": "empty",
    }),
  );
  const env = { PATH: process.env.PATH, KUBECONFIG: file };
  return answering(t, "/metrics", async (internal) => {
    const args = ["operator", "--internal", internal, "--metrics-api", `127.0.0.1:${await freePort()}`];
    return spawn(binary, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  });
}

/**
 * Starts a process that listens at the given address, and waits until it responds there; returns the
 * address. If another process took the port in the meantime, it is started at another one.
 */
async function answering(t, route, start) {
  for (let tries = 0; ; tries++) {
    const address = `127.0.0.1:${await freePort()}`;
    const child = await start(address);
    const lines = [];
    let over = false;
    child.once("error", (error) => lines.push(`${error.message}; tests/setup.sh installs what is missing`));
    child.once("close", () => (over = true));
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => lines.push(String(chunk)));
    atEnd(t, () => ended(child));
    const answers = () => fetch(`http://${address}${route}`).then((answer) => answer.ok, () => false);
    const state = await until(() => `it answers at ${route}\n${lines.join("")}`, async () => (over ? "over" : (await answers()) && "up"));
    if (state === "up") return address;
    if (tries === 3) throw new Error(`it ended:\n${lines.join("")}`);
  }
}

/** A real Prometheus. */
export class Prometheus {
  /** Starts one that scrapes `targets`: [{address, labels}], every second, with the rules of the chart. */
  static async start(t, targets, interval = "1s") {
    const prometheus = new Prometheus();
    const data = await directory(t);
    const config = {
      global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
      rule_files: ["rookery", "rookery-operator"].map((chart) => path.join(root, `charts/${chart}/rules/*.yaml`)),
      scrape_configs: [...new Set(targets.map(({ job }) => job))].map((job) => ({
        job_name: job,
        static_configs: targets.filter((target) => target.job === job).map(({ address, labels }) => ({ targets: [address], labels })),
      })),
    };
    // JSON is YAML.
    await writeFile(path.join(data, "prometheus.yml"), JSON.stringify(config));
    const args = [`--config.file=${data}/prometheus.yml`, `--storage.tsdb.path=${data}/data`];
    const address = await answering(t, "/-/ready", (listen) => {
      return spawn("prometheus", [...args, `--web.listen-address=${listen}`], { stdio: ["ignore", "pipe", "pipe"] });
    });
    prometheus.url = `http://${address}`;
    return prometheus;
  }

  /** The current result of an expression: [{metric, value: [time, text]}]. */
  query(expr) {
    return this.#api("query", { query: expr }).then(({ result }) => result);
  }

  /** Its results from `start` to `end`, in seconds, every `step`: [{metric, values: [[time, text]]}]. */
  range(expr, start, end, step) {
    return this.#api("query_range", { query: expr, start, end, step }).then(({ result }) => result);
  }

  /** The rules that it evaluates: [{type, name, query, health, lastError}]. */
  async rules() {
    const { groups } = await this.#api("rules", {});
    return groups.flatMap(({ rules }) => rules);
  }

  async #api(what, parameters) {
    const body = new URLSearchParams(parameters);
    const get = `${this.url}/api/v1/${what}`;
    const answer = await (what === "rules" ? fetch(get) : fetch(get, { method: "POST", body }));
    const { status, data, error } = await answer.json();
    if (status !== "success") throw new Error(`${error}\n${parameters.query ?? what}`);
    return data;
  }
}

async function ended(child) {
  if (child.exitCode !== null || child.pid === undefined) return;
  child.kill("SIGKILL");
  await new Promise((resolve) => child.once("exit", resolve));
}

/** The whole setup, without clients. */
export async function stage(t, { interval } = {}) {
  const redis = await Redis.start(t);
  const config = { ...CONFIG, backend: { url: await backend(t), hooks: ["event"], events: ["question"] } };
  const servers = await Promise.all(PODS.map(() => Instance.start(t, config, { redis })));
  const its = new URL(`http://${await operator(t)}`).host;
  const prometheus = await Prometheus.start(
    t,
    [
      ...servers.map(({ internal }, index) => ({
        job: "chat-internal",
        address: new URL(internal).host,
        labels: { namespace: "chat", pod: PODS[index], service: "chat-internal" },
      })),
      { job: "rookery-operator", address: its, labels: { namespace: "rookery", pod: "rookery-operator-5c6d7b8f9-abcde" } },
    ],
    interval,
  );
  return { redis, servers, operator: `http://${its}`, prometheus };
}

/** Clients of an instance, on each transport, in rooms of both classes. */
export async function members(t, server, each = 3) {
  const kinds = [kind(4, "websocket"), kind(4, "polling"), kind(4, "polling", "websocket"), kind(2, "websocket")];
  const all = await Promise.all(kinds.flatMap((one) => Array.from({ length: each }, () => connected(t, one, server.url))));
  await Promise.all(
    all.flatMap((client, index) => ["board:news", `acme:app-${index % 4}`].map((room) => join(client, room))),
  );
  return all;
}

/** A client that is refused: its join is forbidden, and it asks for an unknown namespace. */
export async function refused(t, server) {
  const client = await connected(t, kind(4, "websocket"), server.url);
  const answer = await ask(client, "join", { room: "secret:plans" });
  if (answer.error?.code !== "forbidden") throw new Error(JSON.stringify(answer));
  const other = connecting(t, kind(4, "websocket"), `${server.url}/nowhere`);
  await new Promise((resolve) => other.once("connect_error", resolve));
  other.close();
  client.close();
}

/** A client that stops reading, in a room of its own that exceeds its outbox: it is disconnected. */
export async function slow(t, server) {
  const client = await connected(t, kind(4, "websocket"), server.url, { reconnection: false });
  const room = "acme:slow";
  await join(client, room);
  client.io.engine.transport.ws._socket.pause();
  const text = "x".repeat(100_000);
  const before = await server.metric("rookery_disconnects_total", { reason: "slow" });
  await until("it is shed", async () => {
    await server.publish({ room, event: "much", args: [text] });
    return (await server.metric("rookery_disconnects_total", { reason: "slow" })) > before;
  });
}
