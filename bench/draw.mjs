// Draws the table and the bar chart of the results.

import { SYSTEMS } from "./rows.mjs";

export function median(numbers) {
  const sorted = numbers.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const count = (number) =>
  Number.isFinite(number) ? Math.round(number).toLocaleString("en-US") : "";
const shown = (number, row) =>
  !Number.isFinite(number) ? "" : row.unit ? `${number.toFixed(1)} ${row.unit}` : count(number);

// Summarises the reports of all rounds in one line: medians, and the median of each round's ratios to
// Node and to "before".
export function summarise(row, rounds) {
  const of = (system, number) => median(rounds.map((round) => round[system] && number(round[system])));
  const values = Object.fromEntries(row.systems.map((system) => [system, of(system, row.metric)]));
  const ratiosTo = (system) => rounds.map((round) => row.metric(round.rookery) / row.metric(round[system]));
  const ratio = median(ratiosTo("node"));
  const toBefore = row.systems.includes("before") ? ratiosTo("before") : [];
  const line = { row, values, ratio, toBefore, met: true, wanted: "" };
  if (typeof row.target === "number") {
    line.wanted = `${row.target}×`;
    line.met = ratio >= row.target;
  } else if (row.target) {
    line.wanted = `≤ ${row.target.most} ${row.unit}, below Node`;
    line.met = values.rookery <= row.target.most && ratio < 1;
  }
  if (row.latency) {
    const p99 = (system) => `${of(system, (report) => report.latency.p99Ms).toFixed(2)} ms`;
    const cells = Object.fromEntries(row.systems.map((system) => [system, p99(system)]));
    line.details = [{ name: "p99, publication to receipt", cells }];
    const p99Ratio = median(rounds.map((r) => r.rookery.latency.p99Ms / r.node.latency.p99Ms));
    line.wanted += ", p99 not above Node's";
    line.met &&= p99Ratio <= 1;
  }
  return line;
}

// A column for each system, and for "before" only where it was measured.
function systemsOf(lines) {
  const before = lines.some((line) => line.row.systems.includes("before") || line.details?.[0].cells.before);
  return Object.keys(SYSTEMS).filter((system) => system !== "before" || before);
}

// The median of the rounds' ratios, and their range: the noise that it must be read with.
function spread(ratios) {
  if (ratios.length === 0) return "";
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  return `${median(ratios).toFixed(2)}× (${least.toFixed(2)} to ${most.toFixed(2)})`;
}

export function table(lines, facts) {
  const systems = systemsOf(lines);
  const before = systems.includes("before");
  const row = (name, cells, toBefore, ...rest) =>
    `| ${[name, ...cells, ...(before ? [toBefore] : []), ...rest].join(" | ")} |`;
  const out = [
    "# Measurements",
    "",
    `${facts.date}. ${facts.versions}. ${facts.machine}. ${facts.method}`,
    "",
    "Deliveries per second of the server's CPU time (user and kernel), unless stated otherwise.",
    "",
    row("Load", systems.map((system) => SYSTEMS[system].split(",")[0]), "Rookery / before", "Rookery / Node", "target", "met"),
    `|---|${"--:|".repeat(systems.length + (before ? 2 : 1))}---|---|`,
  ];
  for (const line of lines) {
    const cells = systems.map((system) => shown(line.values[system], line.row));
    const ratio = Number.isFinite(line.ratio) ? `${line.ratio.toFixed(2)}×` : "";
    const met = line.wanted && (line.met ? "yes" : "**no**");
    out.push(row(line.row.name, cells, spread(line.toBefore ?? []), ratio, line.wanted, met));
    for (const detail of line.details ?? []) {
      const cells = systems.map((system) => detail.cells[system] ?? "");
      out.push(row(`… ${detail.name}`, cells, "", "", "", ""));
    }
  }
  out.push("", ...facts.notes.flatMap((note) => [note, ""]));
  out.push("The bare loop is one epoll loop that makes one send(2) for each delivery and does nothing else.", "");
  out.push("![Deliveries per CPU second](deliveries.svg)", "");
  return out.join("\n");
}

const COLOURS = { rookery: "#0f766e", before: "#5eead4", node: "#94a3b8", bare: "#d97706" };
const escape = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

// A bar chart of deliveries per CPU second, with a group for each row in this unit.
export function picture(lines, facts) {
  const groups = lines.filter((line) => !line.row.unit && line.row.systems.length > 0);
  const most = Math.max(...groups.flatMap((line) => Object.values(line.values).filter(Number.isFinite)));
  const [left, width, bar] = [20, 860, 16];
  const scale = (number) => (number / most) * (width - left - 200);
  const parts = [];
  let y = 62;
  for (const { row, values, ratio } of groups) {
    parts.push(`<text x="${left}" y="${y}" font-weight="600">${escape(row.name)}</text>`);
    y += 8;
    for (const system of row.systems) {
      if (!Number.isFinite(values[system])) continue;
      const length = Math.max(scale(values[system]), 1).toFixed(1);
      const note = system === "rookery" && Number.isFinite(ratio) ? `  ${ratio.toFixed(1)}× Node` : "";
      parts.push(
        `<rect x="${left}" y="${y}" width="${length}" height="${bar - 3}" rx="2" fill="${COLOURS[system]}"/>`,
        `<text x="${left + Number(length) + 6}" y="${y + bar - 6}" font-size="11">${count(values[system])}${note}</text>`,
      );
      y += bar;
    }
    y += 24;
  }
  const key = systemsOf(lines).map(
    (system, i) =>
      `<rect x="${left + i * 150}" y="${y - 8}" width="12" height="12" rx="2" fill="${COLOURS[system]}"/>` +
      `<text x="${left + i * 150 + 18}" y="${y + 2}" font-size="11">${escape(SYSTEMS[system])}</text>`,
  );
  const caption = `${facts.date} · ${facts.versions} · ${facts.machine}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + 50}" viewBox="0 0 ${width} ${y + 50}" font-family="system-ui, sans-serif" font-size="13" fill="#0f172a">
<title>Deliveries per second of server CPU time</title>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="${left}" y="30" font-size="17" font-weight="700">Deliveries per second of server CPU time</text>
${parts.join("\n")}
${key.join("\n")}
<text x="${left}" y="${y + 30}" font-size="10" fill="#64748b">${escape(caption)}</text>
</svg>
`;
}
