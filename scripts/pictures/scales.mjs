// Axes and figures.

/** Multiples of `step` from `from` to `to`. */
export function ticks(from, to, step) {
  const count = Math.floor((to - from) / step + 1e-9);
  return Array.from({ length: count + 1 }, (_, n) => from + n * step);
}

/** The axis of values: {ticks, of: value => 0 to 1}. */
export function bounds(values, { log, unit }) {
  const most = Math.max(0, ...values);
  if (log) {
    const positive = values.filter((value) => value > 0);
    const [from, to] = [Math.floor(Math.log10(Math.min(...positive))), Math.ceil(Math.log10(most))];
    const decades = ticks(from, Math.max(to, from + 1), 1);
    return { ticks: decades.map((decade) => 10 ** decade), of: (value) => (Math.log10(value) - from) / (decades.at(-1) - from) };
  }
  if (unit === "percentunit") return { ticks: ticks(0, 1, 0.25), of: (value) => value };
  const step = round(most === 0 ? 1 : most / 4, unit);
  const top = Math.max(1, Math.ceil(most / step - 1e-9)) * step;
  return { ticks: ticks(0, top, step), of: (value) => value / top };
}

/** The next number that reads well: 1, 2 or 5 times a power of ten; of bytes, a power of two. */
function round(step, unit) {
  if (unit === "bytes") return 2 ** Math.ceil(Math.log2(step));
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].map((digit) => digit * power).find((one) => one >= step * 0.9999);
}

const SHORT = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
const BYTES = [[2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"], [1, " B"]];
const TIME = [[1, " s"], [1e-3, " ms"], [1e-6, " µs"]];
const AFTER = { ops: "/s", mps: "/s", cps: "/s", reqps: "/s" };

/** A figure with its unit, in Grafana's name for it. */
export function amount(value, unit) {
  if (value === Infinity) return "more";
  if (value === 0) return `0${AFTER[unit] ?? ""}`;
  if (unit === "percentunit") return `${plain(value * 100)} %`;
  const steps = { s: TIME, bytes: BYTES }[unit] ?? SHORT;
  const [size, suffix] = steps.find(([least]) => value >= least * 0.9999) ?? steps.at(-1);
  return `${plain(value / size)}${suffix}${AFTER[unit] ?? ""}`;
}

const plain = (number) => String(Number(number.toPrecision(number >= 100 ? 3 : 2)));
