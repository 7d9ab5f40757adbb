// What one address, and many, can take from everybody else: swarms of hostile clients against a server
// in a container of 512 MiB, beside 200 healthy members of a room with a steady publisher. Writes
// results/hostile.md. Every limit has its default; all clients come through a proxy that reports their
// addresses.

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { MEASURED, start, startScript, until } from "./servers.mjs";
import { credentials } from "./tokens.mjs";

const MEMORY_BYTES = 512 << 20;
const MANY = 1000;
// The load of an idle machine is below this.
const QUIET = 0.5;
// How long a swarm grows before what it takes is measured.
const GROW_MS = 5000;

/** The swarms. The first is none, which the others are compared with. */
export const SWARMS = [
  { key: "hostile-none", name: "no swarm" },
  { key: "hostile-handshakes", attack: "handshakes", name: "1,000 handshakes a second that never speak" },
  { key: "hostile-posts", attack: "posts", name: "100 sessions with ten POSTs each at once, in chunks of one byte" },
  { key: "hostile-slow", attack: "slow", name: "1,000 slow bodies and 1,000 slow heads" },
  { key: "hostile-idle", attack: "idle", name: "5,000 idle keep-alive connections" },
  { key: "hostile-deaf", attack: "deaf", name: "300 members that do not read, in a room that 20 publish to" },
  { key: "hostile-large", attack: "large", name: "50 clients that publish 1 MB events without a pause" },
  { key: "hostile-tokens", attack: "tokens", name: "200 clients that connect with forged RSA tokens" },
].map((swarm) => ({ ...swarm, group: "hostile" }));

/** Measures each swarm from one address and from many, and writes the table to `out`. */
export async function hostile(swarms, { seconds, out }, say) {
  const none = SWARMS[0];
  const lines = [];
  const caveats = caveatsOf(MEASURED, loadavg()[0]);
  const measure = async (swarm, addresses) => {
    const report = await against(swarm, addresses, seconds);
    lines.push({ swarm, addresses, ...report });
    say(`${swarm.name}, ${addresses} addresses: ${JSON.stringify(report)}`);
    writeFileSync(join(out, "hostile.md"), page(lines, seconds, caveats));
  };
  await measure(none, 0);
  for (const swarm of swarms.filter((swarm) => swarm !== none)) {
    await measure(swarm, 1);
    await measure(swarm, MANY);
  }
  const failed = lines.filter((line) => !line.lives || line.heard < 1);
  for (const { swarm } of failed) say(`not held: ${swarm.name}`);
  return failed.length === 0;
}

async function against({ attack }, addresses, seconds) {
  const cgroup = makeCgroup();
  const jwt = credentials("RS256");
  const more = `trustedProxies: [127.0.0.1/32]\nauth: { anonymous: true, jwt: { algorithms: [RS256], publicKeyFile: "${jwt.keyFile}" } }`;
  const started = [];
  try {
    const server = await start.rookery({ cores: "0", limits: "", more, cgroup: cgroup?.folder });
    started.push(server);
    const healthy = startScript("1", "hostile/healthy.mjs", ["--url", server.url, "--api", server.api, "--seconds", `${seconds}`]);
    started.push(healthy);
    await until("the healthy clients", healthy.child, () => healthy.child.output.includes("joined"));
    healthy.child.output = "";
    if (attack) {
      const args = ["--url", server.url, "--attack", attack, "--addresses", `${addresses}`, "--token", forged(jwt.token)];
      started.push(startScript("1", "hostile/swarm.mjs", args));
      await sleep(GROW_MS);
    }
    const [began, cpu] = [performance.now(), cpuSeconds(server.pid)];
    const report = healthy.report();
    healthy.child.stdin.write("begin\n");
    const { published, ...measured } = await report;
    const wall = (performance.now() - began) / 1000;
    const lives = existsSync(`/proc/${server.pid}/stat`);
    const used = lives ? (cpuSeconds(server.pid) - cpu) / wall : NaN;
    const memory = cgroup?.peak() ?? residentPeak(server.pid);
    return { ...measured, lives, cpu: used, memory, refused: lives ? await refused(server) : "" };
  } finally {
    for (const one of started.reverse()) await one.stop();
    await cgroup?.remove();
  }
}

// A token that another key signed.
const forged = (token) => token.slice(0, -40) + token.slice(-40).split("").reverse().join("");

// A memory cgroup of its own; undefined where this process may not make one.
function makeCgroup() {
  for (const line of readFileSync("/proc/self/cgroup", "utf8").split("\n")) {
    const [, controllers, path] = line.split(":");
    if (controllers !== "" && controllers !== "memory") continue;
    const [root, limit, peak] =
      controllers === ""
        ? ["/sys/fs/cgroup", "memory.max", "memory.peak"]
        : ["/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"];
    const folder = join(root, path, `rookery-bench-${process.pid}`);
    try {
      mkdirSync(folder);
      if (!existsSync(join(folder, limit))) throw new Error("no memory controller");
      writeFileSync(join(folder, limit), `${MEMORY_BYTES}`);
    } catch {
      if (existsSync(folder)) rmdirSync(folder);
      continue;
    }
    const remove = async () => {
      // The kernel takes a moment to forget the process.
      for (let i = 0; i < 50; i++) {
        try {
          return rmdirSync(folder);
        } catch {
          await sleep(100);
        }
      }
    };
    return { folder, peak: () => Number(readFileSync(join(folder, peak), "utf8")), remove };
  }
  return undefined;
}

const residentPeak = (pid) => 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

// User and system time, in seconds of 100 ticks.
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// What was refused and disconnected, by reason.
async function refused({ internal }) {
  const names = ["rookery_rejected_total", "rookery_disconnects_total"];
  const text = await (await fetch(`${internal}/metrics?${names.map((name) => `name[]=${name}`).join("&")}`)).text();
  const series = [...text.matchAll(/^rookery_\w+\{reason="(\w+)"\} (\d+)/gm)].map(([, reason, n]) => [reason, Number(n)]);
  const most = series.filter(([reason, n]) => n > 0 && reason !== "client").sort((a, b) => b[1] - a[1]);
  return most.slice(0, 3).map(([reason, n]) => `\`${reason}\` ${n.toLocaleString("en")}`).join(", ");
}

// Why the times, and what depends on them, are not those of a server in use.
function caveatsOf(program, load) {
  const caveats = [];
  if (program.includes("/debug/")) caveats.push("The server was built without optimisations.");
  if (load > QUIET) caveats.push(`Other work was done on the machine (a load of ${load.toFixed(1)} before).`);
  if (caveats.length > 0) caveats.push("So only what was heard, and the memory, can be judged.");
  return caveats.length > 0 ? `\n${caveats.join(" ")}\n` : "";
}

function page(lines, seconds, caveats) {
  const percent = (share) => `${(100 * share).toFixed(share < 1 && share > 0.995 ? 2 : 0)} %`;
  const ms = (time) => (time === undefined ? "" : `${time.toFixed(1)} ms`);
  const rows = lines.map(({ swarm, addresses, ...line }) => {
    return [
      swarm.name,
      { 0: "", 1: "one" }[addresses] ?? addresses.toLocaleString("en"),
      line.lives ? percent(line.heard) : "**the server ended**",
      ms(line.p50),
      ms(line.p99),
      `${line.admittedPerSecond.toFixed(1)} of ${line.offeredPerSecond}`,
      `${Math.round(line.memory / (1 << 20))} MiB`,
      percent(line.cpu),
      line.refused,
    ].join(" | ");
  });
  return `# What a swarm can take

${new Date().toISOString().slice(0, 10)}. ${cpus()[0].model.trim()}, ${cpus().length} cores, Linux ${release()}; the server has one of them and
${MEMORY_BYTES >> 20} MiB, and every limit its default. ${seconds} s each.

Beside each swarm, 200 healthy members of a room hear 20 publications a second, and 20 new clients a second come, each from
an address of its own. Swarm and healthy clients share the other core, so the latencies include waiting for it.
${caveats}
| Swarm | its addresses | heard by healthy members | p50 | p99 | new clients admitted a second | memory, peak | CPU | refused or closed most |
|---|--:|--:|--:|--:|--:|--:|--:|---|
${rows.map((row) => `| ${row} |`).join("\n")}
`;
}
