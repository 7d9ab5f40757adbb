// How long rooms wait for their messages, which are slow, which are busy, and what became of it all.
import { bars, heatmap, lines, ranking, row } from "./panels.mjs";
import { CHOSEN, dashboard, values } from "./variables.mjs";

const RATE = "$__rate_interval";
const IN_CLASS = `${CHOSEN},class=~"\${class}"`;
const rate = (metric, more = "", over = RATE) => `rate(${metric}{${CHOSEN}${more}}[${over}])`;
const classes = (more = "") => `rate(rookery_delivery_latency_seconds_bucket{${IN_CLASS}${more}}[${RATE}])`;
const quantile = (q, by, series) => `histogram_quantile(${q}, sum by (${by}, le) (${series}))`;
const room = (q, over = RATE) => quantile(q, "namespace, room", rate("rookery_room_delivery_latency_seconds_bucket", "", over));

const OUTCOMES = { written: "green", dropped_slow: "red", dropped_volatile: "yellow", gone: "purple" };

export const rooms = dashboard({
  uid: "rookery-rooms",
  title: "Rookery / Rooms",
  description: "How long the members of rooms wait for their messages: from acceptance to the kernel, for each recipient.",
  more: [values("class", "Class", `label_values(rookery_delivery_latency_seconds_count{${CHOSEN}}, class)`)],
})
  .withRow(row("Latency of deliveries"))
  .withPanel(heatmap({ title: "Latency, class ${class}", unit: "s", repeat: "class", query: `sum by (le) (increase(rookery_delivery_latency_seconds_bucket{${IN_CLASS}}[${RATE}]))`, good: "How many deliveries took how long, in rooms of a class (the pattern of the room rule that matched). Good: one low band. A second band above it: some rooms, or one hop, are slow." }))
  .withPanel(lines({ title: "p50 by class and hop", unit: "s", log: true, queries: [["{{class}}, {{hop}}", quantile(0.5, "class, hop", classes())]], good: "Half of the deliveries are faster. Good: below 10 ms; remote is local and the way through Redis." }))
  .withPanel(lines({ title: "p99 by class and hop", unit: "s", log: true, limit: 0.5, queries: [["{{class}}, {{hop}}", quantile(0.99, "class, hop", classes())]], good: "99 of 100 deliveries are faster. Good: below 100 ms. Only remote is slow: Redis. Both: CPU, or a hot room." }))
  .withPanel(lines({ title: "Written later than 500 ms", unit: "percentunit", limit: 0.001, queries: [["{{class}}", `1 - sum by (class) (${classes(',le="0.5"')}) / sum by (class) (${classes(',le="+Inf"')})`]], good: "Of those that were written. Good: below 0.1 %, which the objective of 99.9 % allows; it counts those that were dropped_slow too, see Dropped." }))

  .withRow(row("Rooms: the pinned and the busiest (latency.trackRooms, latency.topRooms)"))
  .withPanel(ranking({ title: "Slowest rooms, p99", unit: "s", name: "room", value: "p99", query: `topk(20, ${room(0.99, "5m")} >= 0)`, good: "Of the last 5 minutes. Good: below 100 ms. One room alone: too much is published to it for its members." }))
  .withPanel(bars({ title: "Busiest rooms", unit: "ops", legend: "{{namespace}} {{room}}", query: `topk(20, sum by (namespace, room) (${rate("rookery_room_delivery_latency_seconds_count", "", "5m")}))`, good: "Deliveries a second, of the last 5 minutes: publications times members." }))
  .withPanel(lines({ title: "p99 of the slowest rooms", unit: "s", log: true, queries: [["{{namespace}} {{room}}", `topk(5, ${room(0.99)} >= 0)`]], good: "Good: below 100 ms." }))

  .withRow(row("Ledger"))
  .withPanel(lines({ title: "Publications in", unit: "mps", stack: true, queries: [["{{source}}", `sum by (source) (${rate("rookery_publications_total")})`]], good: "Publications a second, by how they came: client, api, bridge, backend; redis are those of other servers." }))
  .withPanel(lines({ title: "Deliveries out", unit: "ops", stack: true, queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_deliveries_total")})`]], colors: OUTCOMES, good: "What became of each publication for each recipient. Good: written. gone: the client left meanwhile." }))
  .withPanel(lines({ title: "Deliveries for each publication", unit: "short", queries: [["deliveries", `sum(${rate("rookery_deliveries_total")}) / clamp_min(sum(${rate("rookery_publications_total")}), 1e-9)`]], good: "Members that a publication reaches on a server, on average. Good: as the sizes of your rooms say; it is what CPU is spent on." }))
  .withPanel(lines({ title: "Dropped", unit: "percentunit", queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_deliveries_total", ',outcome!="written"')}) / on () group_left () clamp_min(sum(${rate("rookery_deliveries_total")}), 1e-9)`]], colors: OUTCOMES, good: "Share of all deliveries. Good: near 0. From 1 % dropped_slow on RookerySlowClients fires." }))
  .withPanel(lines({ title: "Rooms by pod", unit: "short", queries: [["{{pod}}", `sum by (namespace, pod) (rookery_rooms{${CHOSEN}})`]], good: "Rooms that have members on a server. Good: as many as your application has open. A room with members on several is counted on each." }))
  .withPanel(lines({ title: "Spans for the collector", unit: "cps", queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_trace_spans_total")})`]], colors: { exported: "green", dropped: "red" }, good: "Traces, where telemetry.otlp names a collector. Good: none is dropped; the collector is away, refuses them, or there are too many." }))
  .withPanel(lines({ title: "Rooms whose last minute is known", unit: "short", queries: [["known", `sum(rookery_latency_rooms{${CHOSEN}})`], ["forgotten early", `sum(increase(rookery_latency_rooms_evicted_total{${CHOSEN}}[${RATE}]))`]], colors: { "forgotten early": "orange" }, good: "For `rookery top` and GET /api/rooms/{room}/latency. Good: none is forgotten early; each shard of a server knows 32,768." }));
