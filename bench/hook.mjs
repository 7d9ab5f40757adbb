// Events that no rule handles, through the hook to a backend that answers at once; beside the same backend
// called by a bare client and, where it is installed, by Centrifugo's proxy.

import { spawnSync } from "node:child_process";

import { decimal, median, spread, summarise } from "./draw.mjs";
import { BARE_HANDLER, EVENT_CLIENTS, HTTP_PUBLISHER, publishOverHttp, start, startEventClients } from "./servers.mjs";
import { credentials } from "./tokens.mjs";

const CLIENTS = 64;
const TEXT = "x".repeat(128);
// What Rookery posts for an event of such a client.
const BODY = {
  ...{ type: "event", namespace: "/", id: "Zb3kPq0xA23456789012", user: null, claims: {} },
  ...{ event: "say", args: [TEXT], ack: true },
};
const RPC = { method: "say", data: [TEXT] };

// go install -ldflags "-X github.com/centrifugal/centrifugo/v6/internal/build.Version=6.9.1" \
//   github.com/centrifugal/centrifugo/v6@v6.9.1
const version = spawnSync("centrifugo", ["version"], { encoding: "utf8" });
const centrifugo = version.status === 0 && /v\d+\.\d+\.\d+/.exec(version.stdout)?.[0];

const BARE =
  `For events through the hook, the column of the bare loop has a client that posts the same bodies to the same backend ` +
  `over ${CLIENTS} kept connections, and does nothing else: calls per second of its own CPU time.`;
const MISSING = "Not measured, because centrifugo is missing: events through its proxy.";

// What is measured with a backend, on the clients' core.
async function withBackend(measure) {
  const backend = await start.handler({ cores: "1" });
  try {
    return await measure(backend);
  } finally {
    await backend.stop();
  }
}

// Events through a server that calls the backend.
const through = (system, how, more = {}) =>
  withBackend(async (backend) => {
    const server = await start[system]({ cores: "0", ...how(backend) });
    try {
      return await startEventClients("1", server, { clients: CLIENTS, events: [["say", TEXT]], backend, ...more }).report();
    } finally {
      await server.stop();
    }
  });

const hooked = (key) => (backend) => ({
  more: `backend: { url: "${backend.url}/", hooks: [event]${key ? `, signingKeyFile: "${key}"` : ""} }`,
});

const bare = (seconds) =>
  withBackend(async (backend) => {
    const how = { path: "/", body: BODY, inflight: CLIENTS, seconds };
    const { requests, generatorCpu, serverCpuSeconds, ...report } = await publishOverHttp("0", backend, how);
    const eventsPerCpuSecond = requests / (generatorCpu * report.seconds);
    return { eventsPerCpuSecond, backendCpu: serverCpuSeconds / report.seconds };
  });

export const hook = {
  key: "hook",
  programs: [EVENT_CLIENTS, BARE_HANDLER, HTTP_PUBLISHER],
  note: centrifugo ? [BARE] : [BARE, MISSING],
  async measure(time, { seconds, against }) {
    const measured = { plain: {}, signed: {} };
    const { keyFile } = credentials("HS256");
    for (const system of against ? ["rookery", "before"] : ["rookery"]) {
      measured.plain[system] = await through(system, hooked(), { seconds });
      measured.signed[system] = await through(system, hooked(keyFile), { seconds });
    }
    measured.plain.bare = await bare(seconds);
    if (centrifugo) {
      const proxied = (backend) => ({ backend: `${backend.url}/rpc` });
      measured.centrifugo = await through("centrifugo", proxied, { seconds, centrifugo: true, events: [RPC] });
    }
    return measured;
  },
  line(rounds) {
    const line = (name, of) => {
      const reports = rounds.map((round) => round[of]);
      const systems = Object.keys(reports[0]);
      const row = { key: this.key, name, systems, metric: (report) => report.eventsPerCpuSecond, unit: "/s", digits: 0 };
      return { ...summarise(row, reports), details: details(reports, systems) };
    };
    const name = `events with acks through the hook, ${CLIENTS} clients with 1 in flight each, a backend that answers at once`;
    const lines = [line(name, "plain"), line(`${name}, requests signed`, "signed")];
    return centrifugo ? [...lines, proxyLine(rounds)] : lines;
  },
};

function details(reports, systems) {
  const cells = (cell) => Object.fromEntries(systems.map((system) => [system, cell(system)]));
  const of = (system, number) => reports.map((report) => number(report[system]));
  const percent = (system, key) => decimal(0)(100 * median(of(system, (report) => report[key] ?? NaN)));
  const perCall = (system) => spread(of(system, (report) => 1e6 / report.eventsPerCpuSecond), decimal(1), " µs");
  const shares = (system) => (system === "bare" ? `${percent(system, "backendCpu")}%` : `${percent(system, "generatorCpu")}% / ${percent(system, "backendCpu")}%`);
  const p99 = (system) => spread(of(system, (report) => report.latency?.p99Ms), decimal(2), " ms");
  return [
    { name: "CPU of a call", cells: cells(perCall) },
    { name: "CPU of the clients / of the backend, of the other core", cells: cells(shares) },
    { name: "p99, event to ack", cells: cells(p99) },
  ];
}

// Centrifugo has no column: it is in no other row.
function proxyLine(rounds) {
  const of = (round) => round.centrifugo.eventsPerCpuSecond;
  const ratios = rounds.map((round) => round.plain.rookery.eventsPerCpuSecond / of(round));
  const text =
    `Centrifugo ${centrifugo}, the same events as RPCs through its HTTP proxy to the same backend: ` +
    `${spread(rounds.map(of), decimal(0), "/s")}; Rookery / Centrifugo ${spread(ratios, decimal(2), "×")}`;
  return { row: { key: hook.key, name: text, systems: [] }, values: {}, wanted: "", met: true };
}
