// A picture of panels, as plain SVG.
import { amount, bounds, ticks } from "./scales.mjs";

const CARD = { width: 420, height: 250, gap: 14, left: 54, right: 14, top: 36, bottom: 52 };
const COLUMNS = 3;
const PALETTE = ["#0f766e", "#d97706", "#4f46e5", "#db2777", "#0284c7", "#65a30d", "#7c3aed", "#b45309"];
const NAMED = { green: "#15803d", red: "#dc2626", orange: "#ea580c", yellow: "#ca8a04", blue: "#2563eb", purple: "#7c3aed" };
const [INK, PALE, GRID, PAPER] = ["#0f172a", "#64748b", "#e2e8f0", "#f8fafc"];
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const fixed = (number) => Number(number.toFixed(1));

/** The picture; a heatmap is two cards wide. */
export function picture(title, caption, panels, time) {
  let [column, row] = [0, 0];
  const cards = panels.map((panel) => {
    const span = panel.type === "heatmap" ? 2 : 1;
    if (column + span > COLUMNS) [column, row] = [0, row + 1];
    const [x, y] = [CARD.gap + column * (CARD.width + CARD.gap), 54 + row * (CARD.height + CARD.gap)];
    column += span;
    return card(panel, x, y, span * CARD.width + (span - 1) * CARD.gap, time);
  });
  const width = CARD.gap + COLUMNS * (CARD.width + CARD.gap);
  const height = 54 + (row + 1) * (CARD.height + CARD.gap) + 18;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="11" fill="${INK}">
<title>${escape(title)}</title>
<rect width="100%" height="100%" fill="${PAPER}"/>
<text x="${CARD.gap}" y="34" font-size="18" font-weight="700">${escape(title)}</text>
${cards.join("\n")}
<text x="${CARD.gap}" y="${height - 12}" font-size="10" fill="${PALE}">${escape(caption)}</text>
</svg>
`;
}

/** What a picture says of each of its panels: {title, queries}. */
export function described(svg) {
  const plain = (text) => text.replace(/&(amp|lt|gt|quot);/g, (_, name) => ({ amp: "&", lt: "<", gt: ">", quot: '"' })[name]);
  return [...svg.matchAll(/<desc>(.*?)<\/desc>/g)].map(([, text]) => JSON.parse(plain(text)));
}

function card(panel, x, y, width, time) {
  const inner = { x: CARD.left, y: CARD.top, width: width - CARD.left - CARD.right, height: CARD.height - CARD.top - CARD.bottom };
  const drawing = { timeseries: lines, heatmap, table: bars, bargauge: bars }[panel.type];
  return `<g transform="translate(${x} ${y})">
<desc>${escape(JSON.stringify({ title: panel.title, queries: panel.queries }))}</desc>
<rect width="${width}" height="${CARD.height}" rx="6" fill="#ffffff" stroke="${GRID}"/>
<text x="14" y="22" font-size="13" font-weight="600">${escape(panel.title.replace(", class ${class}", ""))}</text>
${drawing(panel, inner, time).join("\n")}
</g>`;
}

const colorOf = ({ color }, index) => NAMED[color] ?? PALETTE[index % PALETTE.length];

function lines(panel, inner, { start, end }) {
  const series = panel.stack ? stacked(panel.series) : panel.series.map((one) => ({ ...one, base: () => 0 }));
  const values = series.flatMap(({ points }) => points.map(([, value]) => value));
  const scale = bounds(values, panel);
  const across = (at) => fixed(inner.x + ((at - start) / (end - start)) * inner.width);
  const up = (value) => fixed(inner.y + inner.height * (1 - scale.of(value)));
  const parts = [...axis(scale.ticks, up, panel.unit, inner), ...clock(inner, start, end)];
  // What is stacked on top lies behind.
  [...series.entries()].reverse().forEach(([index, { points, base, color }]) => {
    if (points.length === 0 || (panel.stack && quiet(panel.series[index]))) return;
    const path = points.map(([at, value]) => `${across(at)} ${up(value)}`);
    const stroke = colorOf({ color }, index);
    if (panel.stack) {
      const back = points.map(([at]) => `${across(at)} ${up(base(at))}`).reverse();
      parts.push(`<path d="M${[...path, ...back].join("L")}Z" fill="${stroke}" fill-opacity="0.35"/>`);
    }
    parts.push(`<path d="M${path.join("L")}" fill="none" stroke="${stroke}" stroke-width="1.6" stroke-linejoin="round"/>`);
  });
  if (panel.limit !== undefined && scale.of(panel.limit) <= 1) {
    parts.push(`<path d="M${inner.x} ${up(panel.limit)}h${inner.width}" stroke="${NAMED.red}" stroke-dasharray="5 4"/>`);
  }
  return [...parts, ...legend(panel.series, inner)];
}

/** Series on top of each other: each with its upper edge, and a function that gives the lower one. */
function stacked(series) {
  const sums = new Map();
  return series.map((one) => {
    const lower = new Map(sums);
    const points = one.points.map(([at, value]) => {
      sums.set(at, (sums.get(at) ?? 0) + value);
      return [at, sums.get(at)];
    });
    return { ...one, points, base: (at) => lower.get(at) ?? 0 };
  });
}

function heatmap(panel, inner, { start, end }) {
  const { rows, times, cells } = buckets(panel.series);
  const [lowest, highest] = [Math.min(...cells.map(({ level }) => level)), Math.max(...cells.map(({ level }) => level))];
  const most = Math.max(...cells.map(({ count }) => count));
  const [wide, high] = [inner.width / times.length, inner.height / (highest - lowest + 1)];
  const top = (level) => fixed(inner.y + inner.height - (level - lowest + 1) * high);
  const parts = cells.map(({ at, level, count }) => {
    const x = fixed(inner.x + ((at - start) / (end - start)) * (inner.width - wide));
    return `<rect x="${x}" y="${top(level)}" width="${fixed(wide)}" height="${fixed(high - 1)}" fill="${heat(Math.sqrt(count / most))}"/>`;
  });
  for (let level = lowest; level <= highest; level++) {
    parts.push(`<text x="${inner.x - 6}" y="${top(level) + 4}" text-anchor="end" font-size="10" fill="${PALE}">${amount(rows[level].le, panel.unit)}</text>`);
  }
  return [...parts, ...clock(inner, start, end), ...scaleOfHeat(inner, most)];
}

/** Cumulative buckets as what fell into each: cells of {at, level, count} that are not empty. */
function buckets(series) {
  const rows = series.map(({ name, points }) => ({ le: name === "+Inf" ? Infinity : Number(name), points: new Map(points) }));
  rows.sort((a, b) => a.le - b.le);
  const times = [...new Set(series.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  const count = (level, at) => Math.max(0, (rows[level].points.get(at) ?? 0) - (rows[level - 1]?.points.get(at) ?? 0));
  const cells = rows.flatMap((_, level) => times.map((at) => ({ at, level, count: count(level, at) })));
  return { rows, times, cells: cells.filter((cell) => cell.count > 0.5) };
}

/** Pale yellow for little, over red, to dark for much. */
function heat(share) {
  const stops = [
    [254, 249, 195],
    [253, 186, 116],
    [225, 29, 72],
    [76, 5, 25],
  ];
  const place = Math.min(share, 0.999) * (stops.length - 1);
  const [from, to] = [stops[Math.floor(place)], stops[Math.floor(place) + 1]];
  return `rgb(${from.map((one, index) => Math.round(one + (to[index] - one) * (place % 1))).join(",")})`;
}

function scaleOfHeat(inner, most) {
  const y = inner.y + inner.height + 25;
  const steps = Array.from({ length: 24 }, (_, n) => `<rect x="${inner.x + n * 6}" y="${y}" width="6" height="9" fill="${heat(n / 23)}"/>`);
  return [...steps, `<text x="${inner.x + 152}" y="${y + 9}" font-size="10" fill="${PALE}">1 to ${amount(most, "short")} deliveries</text>`];
}

function bars(panel, inner) {
  const ranked = panel.series.map(({ name, points }) => ({ name, value: points[0][1] })).sort((a, b) => b.value - a.value).slice(0, 6);
  const most = Math.max(...ranked.map(({ value }) => value));
  const [left, high] = [92, (inner.height + 34) / Math.max(ranked.length, 4)];
  return ranked.flatMap(({ name, value }, index) => {
    const y = inner.y + index * high + 4;
    const width = fixed(Math.max((value / most) * (inner.x + inner.width - left - 66), 2));
    return [
      `<text x="${left - 8}" y="${fixed(y + high / 2 - 1)}" text-anchor="end">${escape(name)}</text>`,
      `<rect x="${left}" y="${fixed(y)}" width="${width}" height="${fixed(high - 10)}" rx="2" fill="${PALETTE[0]}"/>`,
      `<text x="${left + width + 6}" y="${fixed(y + high / 2 - 1)}" fill="${PALE}">${amount(value, panel.unit)}</text>`,
    ];
  });
}

function axis(marks, up, unit, inner) {
  return marks.flatMap((mark) => [
    `<path d="M${inner.x} ${up(mark)}h${inner.width}" stroke="${GRID}"/>`,
    `<text x="${inner.x - 6}" y="${up(mark) + 4}" text-anchor="end" font-size="10" fill="${PALE}">${amount(mark, unit)}</text>`,
  ]);
}

function clock(inner, start, end) {
  return ticks(0, end - start, 30).map((second) => {
    const x = fixed(inner.x + (second / (end - start)) * inner.width);
    const text = `${Math.floor(second / 60)}:${String(second % 60).padStart(2, "0")}`;
    return `<text x="${x}" y="${inner.y + inner.height + 15}" text-anchor="middle" font-size="10" fill="${PALE}">${text}</text>`;
  });
}

/** Whether a series is 0 all the time. */
const quiet = ({ points }) => points.every(([, value]) => value === 0);

/** Names with their colours, on two lines at most. */
function legend(series, inner) {
  let [x, y] = [inner.x, inner.y + inner.height + 32];
  const shown = [...series.entries()].filter(([, one]) => series.length <= 4 || !quiet(one));
  return shown.flatMap(([index, one]) => {
    const wide = 24 + one.name.length * 5.9;
    if (x + wide > inner.x + inner.width + 20) [x, y] = [inner.x, y + 13];
    if (y > inner.y + inner.height + 45) return [];
    const at = x;
    x += wide;
    return [
      `<rect x="${fixed(at)}" y="${y - 8}" width="9" height="9" rx="2" fill="${colorOf(one, index)}"/>`,
      `<text x="${fixed(at + 13)}" y="${y}" font-size="10">${escape(one.name)}</text>`,
    ];
  });
}
