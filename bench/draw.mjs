// Draws the table and the charts of the results.

import { SYSTEMS } from "./rows.mjs";

export function median(numbers) {
  const sorted = numbers.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median, and the range where there are several numbers; empty without any. */
export function spread(numbers, format, unit = "") {
  const finite = numbers.filter(Number.isFinite);
  if (finite.length === 0) return "";
  const range = `(${format(Math.min(...finite))} to ${format(Math.max(...finite))})`;
  return `${format(median(finite))}${unit}${finite.length > 1 ? ` ${range}` : ""}`;
}

/** Formats a number with thousands separators and this many digits after the point. */
export const decimal = (digits) => (number) =>
  number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const count = (number) => (Number.isFinite(number) ? decimal(0)(number) : "");

// Summarises the reports of all rounds in one line: the numbers of each system, and each round's ratios
// to the other systems.
export function summarise(row, rounds) {
  const of = (system, number) => rounds.map((round) => (round[system] ? number(round[system]) : NaN));
  const numbers = Object.fromEntries(row.systems.map((system) => [system, of(system, row.metric)]));
  const values = Object.fromEntries(row.systems.map((system) => [system, median(numbers[system])]));
  const ratio = (number, to) => (number > 0 && to > 0 ? number / to : NaN);
  const ratiosTo = (system) => (numbers[system] ?? []).map((number, i) => ratio(numbers.rookery[i], number));
  const ratios = Object.fromEntries(["before", "node", "bare"].map((system) => [system, ratiosTo(system)]));
  const line = { row, numbers, values, ratios, ...judge(row, values, ratios) };
  if (row.latency) {
    const p99 = (system) => spread(of(system, (report) => report.latency.p99Ms), decimal(2), " ms");
    const cells = Object.fromEntries(row.systems.map((system) => [system, p99(system)]));
    line.details = [{ name: `p99, ${row.latencyOf ?? "publication to receipt"}`, cells }];
    const p99Ratio = median(rounds.map((r) => r.rookery?.latency.p99Ms / r.node?.latency.p99Ms));
    if (row.latency === true) {
      line.wanted += ", p99 not above Node's";
      line.met &&= p99Ratio <= 1;
    }
  }
  if (row.shown) line.details = [...(line.details ?? []), ...row.shown.map((shown) => detail(row, shown, of))];
  return line;
}

function detail(row, { name, metric, unit = "", digits = 1 }, of) {
  const suffix = !unit || unit.startsWith("/") ? unit : ` ${unit}`;
  const cell = (system) => spread(of(system, metric), decimal(digits), suffix);
  return { name, cells: Object.fromEntries(row.systems.map((system) => [system, cell(system)])) };
}

// What the row wants, in words, and whether it is met. Nothing, where Rookery was not measured.
function judge(row, values, ratios) {
  if (!Number.isFinite(values.rookery)) return { wanted: "", met: true };
  const target = typeof row.target === "number" ? { node: row.target } : (row.target ?? {});
  const wants = [];
  const want = (text, met) => wants.push({ text, met });
  if (target.node) want(`${target.node}×`, median(ratios.node) >= target.node);
  if (target.bare) want(`${target.bare}× of bare`, median(ratios.bare) >= target.bare);
  if (target.most) want(`≤ ${target.most} ${row.unit}`, values.rookery <= target.most);
  if (target.belowNode) want("below Node", median(ratios.node) < 1);
  return { wanted: wants.map(({ text }) => text).join(", "), met: wants.every(({ met }) => met) };
}

// A column for each system, and for "before" only where it was measured.
function systemsOf(lines) {
  const before = lines.some((line) => line.row.systems.includes("before") || line.details?.[0].cells.before);
  return Object.keys(SYSTEMS).filter((system) => system !== "before" || before);
}

export function table(lines, facts) {
  const systems = systemsOf(lines);
  const compared = ["before", "node", "bare"].filter((system) => systems.includes(system));
  const titles = systems.map((system) => SYSTEMS[system].split(",")[0]);
  const row = (...cells) => `| ${cells.join(" | ")} |`;
  const out = [
    "# Measurements",
    "",
    `${facts.date}. ${facts.versions}. ${facts.machine}. ${facts.method}`,
    "",
    "Deliveries per second of the server's CPU time (user and kernel), unless stated otherwise.",
    "",
    row("Load", ...titles, ...compared.map((system) => `Rookery / ${SHORT[system]}`), "target", "met"),
    `|---|${"--:|".repeat(systems.length + compared.length)}---|---|`,
  ];
  for (const line of lines) {
    const { unit, digits = unit ? 1 : 0 } = line.row;
    const suffix = !unit || unit.startsWith("/") ? unit : ` ${unit}`;
    const cell = (system) => spread(line.numbers?.[system] ?? [], decimal(digits), suffix);
    const ratios = compared.map((system) => spread(line.ratios?.[system] ?? [], decimal(2), "×"));
    const met = line.wanted && (line.met ? "yes" : "**no**");
    out.push(row(line.row.name, ...systems.map(cell), ...ratios, line.wanted, met));
    for (const detail of line.details ?? []) {
      const cells = systems.map((system) => detail.cells[system] ?? "");
      out.push(row(`… ${detail.name}`, ...cells, ...compared.map(() => ""), "", ""));
    }
  }
  out.push("", ...facts.notes.flatMap((note) => [note, ""]));
  out.push(
    "The bare loop is one epoll loop that makes one recv(2) for each event and one send(2) for each delivery, and does " +
      "nothing else. For HTTP publications its column has an axum handler that parses the same JSON, answers, and " +
      "delivers nothing. `/s` is per second of the server's CPU time.",
    "",
  );
  if (hasBars(lines)) out.push("![Deliveries per CPU second](deliveries.svg)", "");
  if (lines.some((line) => line.row.curve)) out.push("![CPU time of a delivery by connections](scale.svg)", "");
  return out.join("\n");
}

/** Whether there is a number for the bar chart. */
export const hasBars = (lines) => lines.some((line) => Number.isFinite(line.values.rookery) && !line.row.unit);

const SHORT = { before: "before", node: "Node", bare: "bare" };
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
  for (const { row, values, ratios } of groups) {
    const ratio = median(ratios.node);
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
  return svg("Deliveries per second of server CPU time", [width, y], parts, systemsOf(lines), facts);
}

// A chart with its title above, and the key of the colours and the facts below.
function svg(title, [width, y], parts, systems, facts) {
  const left = 20;
  const key = systems.map(
    (system, i) =>
      `<rect x="${left + i * 150}" y="${y - 8}" width="12" height="12" rx="2" fill="${COLOURS[system]}"/>` +
      `<text x="${left + i * 150 + 18}" y="${y + 2}" font-size="11">${escape(SYSTEMS[system])}</text>`,
  );
  const caption = `${facts.date} · ${facts.versions} · ${facts.machine}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + 50}" viewBox="0 0 ${width} ${y + 50}" font-family="system-ui, sans-serif" font-size="13" fill="#0f172a">
<title>${escape(title)}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="${left}" y="30" font-size="17" font-weight="700">${escape(title)}</text>
${parts.join("\n")}
${key.join("\n")}
<text x="${left}" y="${y + 30}" font-size="10" fill="#64748b">${escape(caption)}</text>
</svg>
`;
}

/** A panel for each curve: the cost of a delivery by the number of connections, with its range. */
export function curves(lines, facts) {
  const points = lines.filter((line) => line.row.curve);
  const names = [...new Set(points.map((line) => line.row.curve))];
  const [width, panel, gap] = [860, { width: 340, height: 220 }, 80];
  const parts = names.flatMap((name, i) => {
    const at = { x: 60 + i * (panel.width + gap), y: 80, ...panel };
    return curve(name, points.filter((line) => line.row.curve === name), at);
  });
  return svg("CPU time of a delivery by connections, µs", [width, 80 + panel.height + 60], parts, systemsOf(lines), facts);
}

function curve(name, lines, at) {
  const numbers = lines.flatMap((line) => Object.values(line.numbers).flat().filter(Number.isFinite));
  const [most, widest] = [Math.max(...numbers), Math.max(...lines.map((line) => line.row.clients))];
  const x = (clients) => at.x + (clients / widest) * at.width;
  const y = (number) => at.y + at.height - (number / most) * at.height;
  const [left, bottom] = [at.x, at.y + at.height];
  const parts = [
    `<text x="${left}" y="${at.y - 14}" font-weight="600">${escape(name)}</text>`,
    `<path d="M${left} ${at.y} V${bottom} H${left + at.width}" fill="none" stroke="#64748b"/>`,
    `<text x="${left - 6}" y="${at.y + 4}" font-size="11" text-anchor="end">${decimal(1)(most)}</text>`,
    `<text x="${left - 6}" y="${bottom + 4}" font-size="11" text-anchor="end">0</text>`,
  ];
  for (const { row } of lines) {
    parts.push(`<text x="${x(row.clients)}" y="${bottom + 16}" font-size="11" text-anchor="middle">${count(row.clients)}</text>`);
  }
  for (const system of Object.keys(SYSTEMS)) {
    const shown = lines.filter((line) => Number.isFinite(line.values[system]));
    if (shown.length === 0) continue;
    const place = (line) => [x(line.row.clients), y(line.values[system])].map((n) => n.toFixed(1));
    const stroke = `stroke="${COLOURS[system]}"`;
    parts.push(`<polyline points="${shown.map(place).join(" ")}" fill="none" stroke-width="2" ${stroke}/>`);
    for (const line of shown) {
      const [cx, cy] = place(line);
      const range = line.numbers[system].filter(Number.isFinite);
      const [high, low] = [y(Math.max(...range)), y(Math.min(...range))].map((n) => n.toFixed(1));
      parts.push(`<path d="M${cx} ${high} V${low}" ${stroke}/>`, `<circle cx="${cx}" cy="${cy}" r="3" fill="${COLOURS[system]}"/>`);
    }
  }
  return parts;
}
