// The rooms dashboard: latency, the slowest and busiest rooms, and the outcome of deliveries.
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
  description: "Delivery latency of rooms: the time from acceptance to the kernel, for each recipient.",
  more: [values("class", "Class", `label_values(rookery_delivery_latency_seconds_count{${CHOSEN}}, class)`)],
})
  .withRow(row("Latency of deliveries"))
  .withPanel(heatmap({ title: "Latency, class ${class}", unit: "s", repeat: "class", query: `sum by (le) (increase(rookery_delivery_latency_seconds_bucket{${IN_CLASS}}[${RATE}]))`, good: "Distribution of delivery latency in rooms of a class (the pattern of the room rule that matched). Good: one low band. A second band above it means that some rooms, or one hop, are slow." }))
  .withPanel(lines({ title: "p50 by class and hop", unit: "s", log: true, queries: [["{{class}}, {{hop}}", quantile(0.5, "class, hop", classes())]], good: "Half of the deliveries are faster than this. Good: below 10 ms; remote adds the way through Redis." }))
  .withPanel(lines({ title: "p99 by class and hop", unit: "s", log: true, limit: 0.5, queries: [["{{class}}, {{hop}}", quantile(0.99, "class, hop", classes())]], good: "99 % of deliveries are faster than this. Good: below 100 ms. If only remote is slow, check Redis; if both, CPU or a hot room." }))
  .withPanel(lines({ title: "Written after more than 500 ms", unit: "percentunit", limit: 0.001, queries: [["{{class}}", `1 - sum by (class) (${classes(',le="0.5"')}) / sum by (class) (${classes(',le="+Inf"')})`]], good: "Fraction of written deliveries. Good: below 0.1 %, the error budget of the 99.9 % objective, which also counts dropped_slow: see Dropped." }))

  .withRow(row("Pinned and top rooms (latency.trackRooms, latency.topRooms)"))
  .withPanel(ranking({ title: "Slowest rooms, p99", unit: "s", name: "room", value: "p99", query: `topk(20, ${room(0.99, "5m")} >= 0)`, good: "Over the last 5 minutes. Good: below 100 ms. If a single room is slow, more is published to it than its members can receive." }))
  .withPanel(bars({ title: "Busiest rooms", unit: "ops", legend: "{{namespace}} {{room}}", query: `topk(20, sum by (namespace, room) (${rate("rookery_room_delivery_latency_seconds_count", "", "5m")}))`, good: "Deliveries per second over the last 5 minutes: publications times members. Good: the rooms that you expect." }))
  .withPanel(lines({ title: "p99 of the slowest rooms", unit: "s", log: true, queries: [["{{namespace}} {{room}}", `topk(5, ${room(0.99)} >= 0)`]], good: "Good: below 100 ms." }))

  .withRow(row("Publications and deliveries"))
  .withPanel(lines({ title: "Publications in", unit: "mps", stack: true, queries: [["{{source}}", `sum by (source) (${rate("rookery_publications_total")})`]], good: "Publications per second by source: client, api, bridge, backend; redis: from other pods. Good: in line with your application." }))
  .withPanel(lines({ title: "Deliveries out", unit: "ops", stack: true, queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_deliveries_total")})`]], colors: OUTCOMES, good: "Outcome of each publication for each recipient. Good: written. gone: the client had left. Each recipient ends up in exactly one." }))
  .withPanel(lines({ title: "Deliveries under way", unit: "short", queries: [["{{pod}}", `sum by (namespace, pod) (rookery_recipients_total{${CHOSEN}}) - sum by (namespace, pod) (rookery_deliveries_total{${CHOSEN}})`]], good: "The ledger of each pod: recipients of publications, less what was written or dropped for them. Good: it returns to 0. What stays waits for clients that do not read." }))
  .withPanel(lines({ title: "Deliveries for each publication", unit: "short", queries: [["deliveries", `sum(${rate("rookery_deliveries_total")}) / clamp_min(sum(${rate("rookery_publications_total")}), 1e-9)`]], good: "Average number of members that a publication reaches on a pod. Good: in line with the sizes of your rooms; it determines CPU usage." }))
  .withPanel(lines({ title: "Dropped", unit: "percentunit", queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_deliveries_total", ',outcome!="written"')}) / on () group_left () clamp_min(sum(${rate("rookery_deliveries_total")}), 1e-9)`]], colors: OUTCOMES, good: "Fraction of all deliveries. Good: near 0. Above 1 % dropped_slow, RookerySlowClients fires." }))
  .withPanel(lines({ title: "Rooms by pod", unit: "short", queries: [["{{pod}}", `sum by (namespace, pod) (rookery_rooms{${CHOSEN}})`]], good: "Rooms with members on a pod. Good: as many as your application uses. A room with members on several pods counts on each." }))
  .withPanel(lines({ title: "Spans for the collector", unit: "cps", queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_trace_spans_total")})`]], colors: { exported: "green", dropped: "red" }, good: "Spans, if telemetry.otlp is set. Good: none is dropped. Spans are dropped if the collector is unavailable or refuses them, or if the queue is full." }))
  .withPanel(lines({ title: "Rooms with latency data", unit: "short", queries: [["rooms", `sum(rookery_latency_rooms{${CHOSEN}})`], ["evicted early", `sum(increase(rookery_latency_rooms_evicted_total{${CHOSEN}}[${RATE}]))`]], colors: { "evicted early": "orange" }, good: "For `rookery top` and GET /api/rooms/{room}/latency. Good: none is evicted early; each shard keeps 32,768 rooms." }));
