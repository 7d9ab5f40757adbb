// Draws the crates and the layers of the server as an SVG: reads what tests/layers found in the
// sources as JSON on stdin, writes the picture to stdout. The scanner is in the test alone, which
// also holds docs/pictures/modules.svg to the sources. To draw it anew:
// WRITE_PICTURE=1 cargo test --test layers picture
import { readFileSync } from "node:fs";

const WIDTH = 1000;
const TOP = 64;
const GAP = 10;
const SLOT = 11;

const STYLE = `
  text { fill: #1e293b; font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; font-size: 13px }
  .page { fill: #ffffff } .box { fill: #f1f5f9; stroke: #94a3b8 } .layer { fill: #e0f2fe; stroke: #0284c7 }
  .title { font-size: 16px; font-weight: 700 } .name { font-weight: 600 } .files, .count { font-size: 11px }
  .files { fill: #475569 } .down { stroke: #64748b; fill: none } .up { stroke: #dc2626; fill: none; stroke-width: 2 }
  .dot { fill: #64748b } .head { fill: #64748b }
  @media (prefers-color-scheme: dark) {
    text { fill: #e2e8f0 } .page { fill: #0f172a } .box { fill: #1e293b; stroke: #64748b }
    .layer { fill: #0c4a6e; stroke: #38bdf8 } .files { fill: #cbd5e1 }
    .down { stroke: #94a3b8 } .up { stroke: #f87171 } .dot, .head { fill: #94a3b8 }
  }`;

const { crates, layers, apart, files, imports } = JSON.parse(readFileSync(0, "utf8"));
const left = drawCrates();
const right = drawServer();
const height = Math.max(left.bottom, right.bottom) + 20;
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">
<title>The crates, and the layers of crates/server with the imports between them</title>
<style>${STYLE}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>
<rect class="page" width="100%" height="100%"/>
${left.svg}
${right.svg}
</svg>
`);

function drawCrates() {
  const rows = crates.toReversed().map(({ name }, rank) => ({ name, rank, note: "", lines: [] }));
  const arrows = crates.toReversed().flatMap(({ name, dependsOn }) => dependsOn.map((to) => ({ from: name, to })));
  return draw({ title: "Crates", x: 16, width: 112, lane: 12, boxClass: "box" }, rows, merge(arrows, rows));
}

/** The highest layer first; `auth` and what stands apart is drawn below the layers. */
function drawServer() {
  const listed = layers.map((names, index) => ({ names, rank: layers.length - index, note: `${index + 1}` })).toReversed();
  listed.push(...apart.map((name) => ({ names: [name], rank: layers.length + 1, note: "apart" })));
  const rows = listed.flatMap(({ names, rank, note }) => names.map((name) => ({ name, rank, note, lines: wrap(files[name] ?? [], 46) })));
  return draw({ title: "Layers of crates/server", x: 340, width: 310, lane: 17, boxClass: "layer" }, rows, merge(imports, rows));
}

/** The arrows of a row in one order: by their start, the longest outside. */
function merge(arrows, rows) {
  const at = (name) => rows.findIndex((row) => row.name === name);
  const rank = (name) => rows[at(name)].rank;
  return arrows
    .map(({ from, to, count }) => ({ from: at(from), to: at(to), count, up: rank(to) <= rank(from) }))
    .toSorted((a, b) => a.from - b.from || a.to - b.to);
}

/** Boxes from top to bottom, and an arrow for each dependency in the lanes to their right. */
function draw({ title, x, width, lane: laneWidth, boxClass }, rows, arrows) {
  const svg = [`<text class="title" x="${x}" y="36">${title}</text>`];
  let y = TOP;
  for (const row of rows) {
    const ends = arrows.filter((arrow) => rows[arrow.from] === row || rows[arrow.to] === row).length;
    row.y = y;
    row.height = Math.max(30 + 15 * row.lines.length, 34, 8 + SLOT * ends);
    y += row.height + GAP;
    svg.push(`<rect class="${boxClass}" x="${x}" y="${row.y}" width="${width}" height="${row.height}" rx="5"/>`);
    svg.push(`<text class="name" x="${x + 10}" y="${row.y + 21}">${row.name}</text>`);
    svg.push(`<text class="files" text-anchor="end" x="${x + width - 10}" y="${row.y + 21}">${row.note}</text>`);
    row.lines.forEach((line, at) => svg.push(`<text class="files" x="${x + 10}" y="${row.y + 38 + 15 * at}">${line}</text>`));
  }
  const lanes = assign(arrows);
  arrows.forEach((arrow, index) => {
    const lane = x + width + 22 + laneWidth * lanes[index];
    const [from, to] = [port(rows[arrow.from], arrows, arrow, "from"), port(rows[arrow.to], arrows, arrow, "to")];
    const edge = x + width;
    svg.push(`<path class="${arrow.up ? "up" : "down"}" marker-end="url(#head)" d="M${edge} ${from}H${lane}V${to}H${edge + 1}"/>`);
    if (arrow.count) svg.push(`<text class="count" x="${lane - 4}" y="${from - 3}">${arrow.count}</text>`);
  });
  return { svg: svg.join("\n"), bottom: y };
}

/** Where an arrow meets its box: arrows that come in above those that go out. */
function port(row, arrows, arrow, end) {
  const coming = arrows.filter((other) => other.to === arrow[end]);
  const going = arrows.filter((other) => other.from === arrow[end]);
  const slot = end === "to" ? coming.indexOf(arrow) : coming.length + going.indexOf(arrow);
  return row.y + (row.height - SLOT * (coming.length + going.length)) / 2 + SLOT * (slot + 0.5);
}

/** A lane for each arrow: short arrows inside, and no two that overlap in one lane. */
function assign(arrows) {
  const span = ({ from, to }) => [Math.min(from, to), Math.max(from, to)];
  const length = (arrow) => span(arrow)[1] - span(arrow)[0];
  const order = arrows.map((_, index) => index).toSorted((a, b) => length(arrows[a]) - length(arrows[b]) || a - b);
  const taken = [];
  const lanes = [];
  for (const index of order) {
    const [start, end] = span(arrows[index]);
    const lane = taken.findIndex((spans) => spans.every(([s, e]) => end < s || start > e));
    lanes[index] = lane < 0 ? taken.push([]) - 1 : lane;
    taken[lanes[index]].push([start, end]);
  }
  return lanes;
}

function wrap(words, width) {
  const lines = [];
  for (const word of words) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + word.length + 3 <= width) lines[lines.length - 1] = `${line} · ${word}`;
    else lines.push(word);
  }
  return lines;
}
