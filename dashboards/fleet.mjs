// The fleet dashboard: connections, traffic and saturation of all pods.
import { figure, lines, row } from "./panels.mjs";
import { CHOSEN, dashboard } from "./variables.mjs";

const RATE = "$__rate_interval";
const rate = (metric, more = "") => `rate(${metric}{${CHOSEN}${more}}[${RATE}])`;
const now = (metric, more = "") => `${metric}{${CHOSEN}${more}}`;
/** Restricts a process metric to Rookery pods. */
const ours = (series) => `sum by (namespace, pod) (${series} and on (namespace, pod, instance) ${now("rookery_connections_limit")})`;
const byPod = (series) => `sum by (namespace, pod) (${series})`;
const share = `sum by (namespace, pod) (${now("rookery_connections")}) / sum by (namespace, pod) (${now("rookery_connections_limit")})`;
const measured = (le) => `sum(${rate("rookery_delivery_latency_seconds_bucket", `,le="${le}"`)})`;

const written = `sum(${rate("rookery_deliveries_total", ',outcome="written"')})`;
const counted = `sum(${rate("rookery_deliveries_total", ',outcome=~"written|dropped_slow"')})`;

const BAD = { refused: "red", slow: "red", transport_error: "orange", ping_timeout: "yellow", client: "green", drain: "blue", rebalance: "purple" };
const OUTCOMES = { written: "green", dropped_slow: "red", dropped_volatile: "yellow", gone: "purple" };

export const fleet = dashboard({
  uid: "rookery-fleet",
  title: "Rookery / Fleet",
  description: "Connections, publications and deliveries, Redis, and saturation of all Rookery pods.",
})
  .withRow(row("Now"))
  .withPanel(figure({ title: "Connections", unit: "short", query: `sum(${now("rookery_connections")})`, good: "Client sessions on all pods. Good: it follows the time of day, without sudden drops." }))
  .withPanel(figure({ title: "Pods", unit: "short", query: `count(${now("rookery_build_info")})`, good: "Pods that are scraped. Good: as many as `kubectl get rk` shows." }))
  .withPanel(figure({ title: "Fullest pod", unit: "percentunit", query: `max(${share})`, levels: [["green", null], ["orange", 0.8], ["red", 0.9]], good: "Connections of the fullest pod, as a fraction of limits.connections. Good: below 80 %. At 100 % it refuses clients." }))
  .withPanel(figure({ title: "Deliveries", unit: "ops", query: `sum(${rate("rookery_deliveries_total", ',outcome="written"')})`, good: "Messages written to clients per second. Good: in proportion to publications." }))
  .withPanel(figure({ title: "p99 latency", unit: "s", query: `histogram_quantile(0.99, sum by (le) (${rate("rookery_delivery_latency_seconds_bucket")}))`, levels: [["green", null], ["orange", 0.1], ["red", 0.5]], none: "no deliveries", good: "99 % of deliveries are faster than this, from acceptance to the kernel. Good: below 100 ms. Above 500 ms, RookerySlowDelivery fires." }))
  .withPanel(figure({ title: "Within 500 ms", unit: "percentunit", decimals: 2, query: `${written} * ${measured("0.5")} / clamp_min(${measured("+Inf")}, 1e-9) / ${counted}`, levels: [["red", null], ["orange", 0.995], ["green", 0.999]], none: "no deliveries", good: "Deliveries that took at most 500 ms, out of those that were written, or dropped because their clients read too slowly. Good: at least 99.9 %, the objective." }))
  .withPanel(figure({ title: "Redis", unit: "short", query: `min(${now("rookery_redis_up")})`, levels: [["red", null], ["green", 1]], none: "none", mappings: [{ type: "value", options: { 0: { text: "down", color: "red", index: 0 }, 1: { text: "up", color: "green", index: 1 } } }], good: "Down if any pod has no connection to Redis. Good: up, or none for a single pod without Redis." }))
  .withPanel(figure({ title: "Clients refused", unit: "cps", query: `sum(${rate("rookery_rejected_total", ',reason=~"connections|memory|connect_rate|per_ip"')})`, levels: [["green", null], ["red", 0.1]], good: "Handshakes answered 503 because of a limit, per second. Good: 0." }))

  .withRow(row("Connections"))
  .withPanel(lines({ title: "Connections by pod", unit: "short", stack: true, queries: [["{{pod}}", byPod(now("rookery_connections"))]], good: "Good: about even. A new pod gets a share of the clients of the others within minutes, unless rebalancing is off (rebalance.mode: manual)." }))
  .withPanel(lines({ title: "Connections by transport", unit: "short", stack: true, queries: [["{{transport}}", `sum by (transport) (${now("rookery_connections")})`]], good: "Good: nearly all websocket. If many use polling, something between client and pod blocks WebSockets; run `rookery doctor`." }))
  .withPanel(lines({ title: "Share of the limit by pod", unit: "percentunit", limit: 0.9, max: 1, queries: [["{{pod}}", share]], good: "Connections as a fraction of limits.connections. Good: below 80 %, which leaves headroom for the clients of a lost pod." }))
  .withPanel(lines({ title: "Connects", unit: "cps", queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_connects_total")})`]], colors: { accepted: "green", refused: "red" }, good: "Requests to connect to a namespace, per second. Good: few are refused. A peak without a rollout is a reconnect storm." }))
  .withPanel(lines({ title: "Disconnects by reason", unit: "cps", stack: true, queries: [["{{reason}}", `sum by (reason) (${rate("rookery_disconnects_total")})`]], colors: BAD, good: "Sessions that ended, per second. Good: client, drain during rollouts, and rebalance after new pods came. transport_error: the ingress or the network cuts connections; slow: clients do not read what they are sent." }))
  .withPanel(lines({ title: "Rejections by reason", unit: "cps", stack: true, queries: [["{{reason}}", `sum by (reason) (${rate("rookery_rejected_total")})`]], good: "Refused clients and requests, per second. Good: near 0. connections, memory, connect_rate: the pods are full; unauthenticated, forbidden: tokens or rules." }))

  .withRow(row("Publications and deliveries"))
  .withPanel(lines({ title: "Publications by source", unit: "mps", stack: true, queries: [["{{source}}", `sum by (source) (${rate("rookery_publications_total")})`]], good: "Publications accepted (client, api, bridge, backend) or received from other pods (redis), per second. Good: in line with your application." }))
  .withPanel(lines({ title: "Deliveries by outcome", unit: "ops", queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_deliveries_total")})`]], colors: OUTCOMES, good: "One for each publication and recipient. Good: only written. dropped_slow: clients that did not keep up and were disconnected." }))
  .withPanel(lines({ title: "HTTP API", unit: "reqps", queries: [["requests", `sum(${rate("rookery_api_request_seconds_count")})`], ["answered 429", `sum(${rate("rookery_api_overloaded_total")})`]], colors: { "answered 429": "red" }, good: "Requests to the HTTP API, per second. Good: none is answered 429 because too many request bodies are in memory." }))

  .withRow(row("Redis"))
  .withPanel(lines({ title: "Redis up by pod", unit: "short", max: 1, queries: [["{{pod}}", `min by (namespace, pod) (${now("rookery_redis_up")})`]], good: "1 while both connections of a pod to Redis are up. Good: always 1. At 0, publications on that pod do not reach other pods." }))
  .withPanel(lines({ title: "Messages to and from Redis", unit: "mps", queries: [["{{direction}}", `sum by (direction) (${rate("rookery_redis_messages_total")})`]], good: "Good: in follows out. One Redis server can forward several hundred thousand per second." }))
  .withPanel(lines({ title: "Redis errors", unit: "short", queries: [["reconnects", `sum(increase(${now("rookery_redis_reconnects_total")}[${RATE}]))`], ["unsent", `sum(increase(${now("rookery_redis_unsent_total")}[${RATE}]))`], ["dropped", `sum(increase(${now("rookery_redis_dropped_total")}[${RATE}]))`]], colors: { reconnects: "orange", unsent: "red", dropped: "purple" }, good: "Good: 0. unsent: accepted but never sent to other pods; dropped: received but not delivered." }))
  .withPanel(lines({ title: "Lost between pods", unit: "short", queries: [["lost", `sum(increase(${now("rookery_redis_gaps_total")}[${RATE}]))`], ["repeated", `sum(increase(${now("rookery_redis_repeats_total")}[${RATE}]))`]], colors: { lost: "red", repeated: "blue" }, good: "Good: 0. lost: published by another pod and never received; repeated: received again, and not delivered again." }))

  .withRow(row("Backend"))
  .withPanel(lines({ title: "Webhooks by outcome", unit: "reqps", stack: true, queries: [["{{outcome}}", `sum by (outcome) (${rate("rookery_backend_requests_total")})`]], good: "Requests to the application's backend, per second. Good: only ok, and refused where the application refuses. Anything else is answered backend_unavailable." }))
  .withPanel(lines({ title: "Backend's time to answer", unit: "s", queries: [["mean", `sum(${rate("rookery_backend_request_seconds_sum")}) / clamp_min(sum(${rate("rookery_backend_request_seconds_count")}), 1e-9)`]], good: "Good: far below backend.timeout. A client's next event waits for the answer to its last one." }))

  .withRow(row("Saturation"))
  .withPanel(lines({ title: "CPU by pod", unit: "short", queries: [["{{pod}}", ours(rate("process_cpu_seconds_total"))]], good: "Cores in use. Good: below half of the limit, or of the node." }))
  .withPanel(lines({ title: "Memory by pod", unit: "bytes", queries: [["{{pod}}", ours(now("process_resident_memory_bytes"))]], good: "Good: about 16 KiB per connection, plus the outboxes of slow clients; below half of the limit." }))
  .withPanel(lines({ title: "Open files, share of the limit", unit: "percentunit", limit: 0.9, max: 1, queries: [["{{pod}}", `${ours(now("process_open_fds"))} / ${ours(now("process_max_fds"))}`]], good: "One per connection. Good: below 80 %." }))
  .withPanel(lines({ title: "Bytes waiting in outboxes", unit: "bytes", queries: [["{{pod}}", byPod(now("rookery_outbox_bytes"))]], good: "Unsent bytes in the clients' outboxes. Good: near 0. It rises if clients do not read; each outbox may hold limits.queue." }))
  .withPanel(lines({ title: "Messages waiting for shards", unit: "short", limit: 4096, queries: [["{{pod}}", byPod(now("rookery_shard_queue"))]], good: "Good: near 0. It rises if a pod receives more than it can process; above 4,096, RookeryShardQueueFilling fires." }))
  .withPanel(lines({ title: "Evicted and suppressed", unit: "short", queries: [["idempotency records", `sum(increase(${now("rookery_api_ids_evicted_total")}[${RATE}]))`], ["log lines", `sum(increase(${now("rookery_log_lines_suppressed_total")}[${RATE}]))`]], good: "Good: 0. Idempotency records evicted within their two minutes; log lines suppressed because clients caused too many." }))

  .withRow(row("Drains and changes"))
  .withPanel(lines({ title: "Drains", unit: "s", queries: [["{{pod}}", `max by (namespace, pod) (${now("rookery_drain_seconds")})`], ["longest planned", `max(${now("rookery_drain_planned_seconds")})`]], colors: { "longest planned": "red" }, good: "Time since a pod got SIGTERM. Good: each drain ends below the planned time." }))
  .withPanel(lines({ title: "Configuration reloads", unit: "short", queries: [["{{outcome}}", `sum by (outcome) (increase(${now("rookery_config_reloads_total")}[${RATE}]))`]], colors: { applied: "green", refused: "red" }, good: "Good: applied. refused: the pod keeps the previous configuration, and its log says why." }))
  .withPanel(lines({ title: "Pods by version", unit: "short", stack: true, queries: [["{{version}}", `count by (version) (${now("rookery_build_info")})`]], good: "Good: one version, except during a rollout." }));
