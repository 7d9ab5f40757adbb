// Starts and stops the Redis servers of rows with several instances.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort, pinned, stop, until } from "./servers.mjs";

const PRIMARIES = 3;

async function run(cores, port, more = []) {
  const words = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...more];
  const child = pinned(cores, "redis-server", words);
  await until("redis-server", child, () => child.output.includes("Ready to accept connections"));
  return child;
}

/** One Redis server. `restart` kills it, and resolves when it is there again, on the same port. */
export async function startRedis(cores) {
  const port = await freePort();
  let child = await run(cores, port);
  const restart = async () => {
    await stop(child);
    child = await run(cores, port);
  };
  return { url: `redis://127.0.0.1:${port}`, address: `127.0.0.1:${port}`, restart, stop: () => stop(child) };
}

/** A Cluster of three primaries without replicas. */
export async function startCluster(cores) {
  const folder = mkdtempSync(join(tmpdir(), "rookery-bench-"));
  const nodes = [];
  const stopAll = async () => {
    for (const { child } of nodes) await stop(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    while (nodes.length < PRIMARIES) {
      const [port, bus] = [await freePort(), await freePort()];
      const more = ["--dir", folder, "--cluster-enabled", "yes", "--cluster-port", `${bus}`];
      const file = ["--cluster-config-file", `nodes-${port}.conf`];
      nodes.push({ child: await run(cores, port, [...more, ...file]), address: `127.0.0.1:${port}`, port });
    }
    const addresses = nodes.map(({ address }) => address);
    execFileSync("redis-cli", ["--cluster", "create", ...addresses, "--cluster-yes"], { stdio: "pipe" });
    const info = ({ port }) => execFileSync("redis-cli", ["-p", `${port}`, "cluster", "info"], { encoding: "utf8" });
    for (const node of nodes) await until("the Cluster", node.child, () => info(node).includes("cluster_state:ok"));
    return { url: `redis-cluster://${addresses.join(",")}`, stop: stopAll };
  } catch (error) {
    await stopAll();
    throw error;
  }
}
