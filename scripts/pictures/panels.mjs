// Which panels the pictures show, and what Prometheus gives for them.

/** The pictures in docs/pictures: the dashboard that each is of, and its panels. */
export const PICTURES = {
  "fleet.svg": {
    dashboard: "rookery-fleet.json",
    titles: [
      "Connections by pod",
      "Share of the limit by pod",
      "Disconnects by reason",
      "Publications by source",
      "Deliveries by outcome",
      "Messages to and from Redis",
      "Memory by pod",
      "Bytes waiting in outboxes",
      "Redis errors",
    ],
  },
  "rooms.svg": {
    dashboard: "rookery-rooms.json",
    titles: ["Latency, class ${class}", "p99 by class and hop", "Slowest rooms, p99", "Busiest rooms", "p99 of the slowest rooms"],
  },
};

/** How often a figure is asked for, in seconds, and over how long rates go. */
const STEP = 2;
const RATE = "12s";

/** A dashboard's panel of a title. */
export function panelOf(dashboard, title) {
  const panel = dashboard.panels.find((one) => one.title === title);
  if (!panel) throw new Error(`${dashboard.title} has no panel "${title}"`);
  return panel;
}

/**
 * A panel with its figures: {title, type, unit, log, stack, limit, queries, series: [{name, color,
 * points: [[seconds, value]]}]}. Of a panel that is there for each value of a variable, all values
 * together.
 */
export async function figuresOf(dashboard, title, prometheus, { start, end }) {
  const panel = panelOf(dashboard, title);
  const { defaults, overrides } = panel.fieldConfig;
  const color = (name) => overrides.find(({ matcher }) => matcher.options === name)?.properties[0].value.fixedColor;
  const series = [];
  for (const { expr, legendFormat, instant } of panel.targets) {
    const asked = expr.replaceAll("$__rate_interval", RATE).replace(/\$\{[a-z]+\}/g, ".*");
    const found = instant
      ? (await prometheus.query(asked)).map(({ metric, value }) => ({ metric, values: [value] }))
      : await prometheus.range(asked, start, end, STEP);
    for (const { metric, values } of found) {
      const name = (legendFormat ?? "{{room}}").replace(/\{\{([a-z]+)\}\}/g, (_, label) => metric[label] ?? "");
      const points = values.map(([at, value]) => [at, Number(value)]).filter(([, value]) => Number.isFinite(value));
      series.push({ name, color: color(name), points });
    }
  }
  const custom = defaults.custom ?? {};
  return {
    title,
    type: panel.type,
    unit: defaults.unit,
    log: custom.scaleDistribution?.type === "log",
    stack: custom.stacking?.mode === "normal",
    limit: custom.thresholdsStyle && defaults.thresholds.steps.at(-1).value,
    queries: panel.targets.map(({ expr }) => expr),
    series,
  };
}
