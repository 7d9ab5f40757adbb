// What is measured, with which systems, and the target for Rookery.
//
// group: a name under which --only selects several rows.
// metric: selects the number of a report that the table shows, in `unit` and with `digits` after the
// point; without a unit, deliveries per CPU second.
// systems: "before" is measured too, where run.mjs is given a second binary.
// target: Rookery's number divided by Node's (a number, or `node`) and by the bare loop's (`bare`) must
// reach it; `most`: Rookery's number must not exceed it.
// token: the algorithm of the token that the clients authenticate with.
// latency: the p99 of deliveries is shown; where true, it must not be above Node's.
// time: how long to measure, where it is not as the command line says.
// http: a load of HTTP requests, instead of the clients'.
// events: events with acks that each of 1,000 clients sends in turn, instead of the clients' publications.
// programs: what has to be built for the load, beside the servers.
// instances: how many servers share a Redis, or with `cluster` a Redis Cluster; wire: their wire. publishAt: the one at
// which clients publish that are in no room; membersAt: those at which the members are, where not at all.
// shown: what further lines show beside the number, each by a metric of its own.
// more: further lines of Rookery's configuration; nodeArgs: further arguments of the Node server.
// curve: the panel of the second chart that the row is a point of, at `clients`.

import { BARE_HANDLER, BARE_LOOP, EVENT_CLIENTS, HTTP_PUBLISHER } from "./servers.mjs";
import { options } from "./options.mjs";

export const SYSTEMS = {
  rookery: "Rookery",
  before: "before",
  node: "Node socket.io",
  bare: "bare loop, one send(2) per delivery",
};

/** The program and the start function of "bare" in this row. */
export const bareOf = (row) =>
  row.http ? { program: BARE_HANDLER, start: "handler" } : { program: BARE_LOOP, start: "bare" };

const perCpu = (report) => report.deliveriesPerCpuSecond;
const microseconds = (report) => 1e6 / report.deliveriesPerCpuSecond;
// Deliveries per CPU second of one of the servers.
const ofProcess = (index) => (report) => report.deliveries / report.cpuSecondsByProcess[index];
const swarm = ["--clients", "1000", "--payload", "128"];

const CONNECTS_PER_SECOND = 500;
const connect = (key, name, more = {}) => ({
  key,
  group: "connect",
  name: `CPU of a connect (WebSocket, CONNECT, one join), ${CONNECTS_PER_SECOND} per second, ${name}`,
  args: ["--idle", "--clients", `${CONNECTS_PER_SECOND * options.seconds}`],
  connectRate: CONNECTS_PER_SECOND,
  time: ["--duration", "1s", "--warmup", "100ms"],
  systems: ["rookery", "node"],
  metric: (report) => report.cpuMsPerConnect,
  unit: "ms",
  digits: 3,
  ...more,
});

// The clients offer compressed messages either way, so that the publications are the same.
const deflate = (key, name, more = {}) => ({
  key,
  group: "deflate",
  name: `one room of 1,000, 2 KiB like JSON, 4 in flight, ${name}`,
  args: ["--clients", "1000", "--payload", "2048", "--inflight", "4", "--deflate"],
  systems: ["rookery", "node"],
  metric: (report) => report.deliveriesPerCpuSecond,
  ...more,
});

const publication = { room: "flood-0", event: "b", args: ["x".repeat(128)] };
const http = (key, name, more) => ({
  key,
  group: "http",
  name: `HTTP publications, ${name}`,
  http: { path: "/api/publish", body: publication, members: 1, publications: 1, ...more.http },
  programs: [HTTP_PUBLISHER],
  systems: more.systems ?? ["rookery", "node", "bare"],
  metric: (report) => report.publicationsPerCpuSecond,
  unit: "/s",
  digits: 0,
  target: more.target,
});

const events = (key, name, sent) => ({
  key,
  group: "events",
  name: `events with acks that rules handle, 1,000 clients with 1 in flight each, ${name}`,
  events: sent,
  programs: [EVENT_CLIENTS],
  systems: ["rookery", "node"],
  metric: (report) => report.eventsPerCpuSecond,
  unit: "/s",
  digits: 0,
  target: 2,
  latency: "shown",
  latencyOf: "event to ack",
});

// Each publication goes from a client of one server through Redis to a client of another.
const link = (key, name, more) => ({
  key,
  group: "fan-out",
  name: `publications from one instance to another, 100 rooms of one, 16 in flight in each, ${name}`,
  args: ["--clients", "100", "--payload", "128", "--rooms", "100", "--inflight", "16"],
  systems: ["rookery", "node"],
  instances: 2,
  publishAt: 0,
  membersAt: [1],
  metric: perCpu,
  unit: "/s",
  digits: 0,
  target: 5,
  latency: "shown",
  shown: [
    { name: "of the publisher's instance alone", metric: ofProcess(0), unit: "/s", digits: 0 },
    { name: "of the other instance alone", metric: ofProcess(1), unit: "/s", digits: 0 },
    { name: "per second of the clock", metric: (report) => report.deliveriesPerSecond, unit: "/s", digits: 0 },
  ],
  ...more,
});

const SCALE = [1000, 5000, 15_000];
const scale = (load, name, argsOf) =>
  SCALE.map((clients) => ({
    key: `scale-${load}-${clients}`,
    group: "scale",
    name: `CPU of a delivery, ${name}, ${clients.toLocaleString("en-US")} connections`,
    clients,
    curve: name,
    args: ["--clients", `${clients}`, "--payload", "128", ...argsOf(clients)],
    systems: ["rookery", "node", "bare"],
    metric: microseconds,
    unit: "µs",
    digits: 2,
  }));

export const ROWS = [
  {
    key: "hot-4",
    name: "one room of 1,000, 4 publications in flight",
    args: [...swarm, "--inflight", "4"],
    systems: ["rookery", "node", "bare"],
    metric: perCpu,
    target: 4,
    latency: true,
  },
  {
    key: "hot-16",
    name: "one room of 1,000, 16 in flight",
    args: [...swarm, "--inflight", "16"],
    systems: ["rookery", "node", "bare"],
    metric: perCpu,
    target: 10,
    latency: true,
  },
  {
    key: "steady",
    name: "one room of 1,000, 20 publications per second",
    args: [...swarm, "--rate", "20"],
    systems: ["rookery", "node", "bare"],
    metric: perCpu,
    target: 1.9,
    latency: true,
  },
  {
    key: "rooms",
    name: "100 rooms of ten, 1 in flight in each",
    args: [...swarm, "--rooms", "100", "--inflight", "1"],
    systems: ["rookery", "node", "bare"],
    metric: perCpu,
    target: 2,
    latency: true,
  },
  {
    key: "one-member",
    name: "1,000 rooms of one, 1 in flight in each",
    args: [...swarm, "--rooms", "1000", "--inflight", "1"],
    systems: ["rookery", "node", "bare"],
    metric: perCpu,
    target: { node: 3, bare: 0.75 },
    latency: "shown",
  },
  {
    key: "pairs",
    name: "500 rooms of two, 1 in flight in each",
    args: [...swarm, "--rooms", "500", "--inflight", "1"],
    systems: ["rookery", "node", "bare"],
    metric: perCpu,
    target: { node: 3 },
    latency: "shown",
  },
  {
    key: "redis",
    name: "one room of 1,000 over two instances through Redis, 4 in flight",
    args: [...swarm, "--inflight", "4"],
    systems: ["rookery", "node"],
    instances: 2,
    metric: perCpu,
    target: 3,
    latency: true,
  },
  {
    key: "redis-rooms",
    group: "fan-out",
    name: "100 rooms of ten over two instances through Redis, published at one, 1 in flight in each",
    args: [...swarm, "--rooms", "100", "--inflight", "1"],
    systems: ["rookery", "node"],
    instances: 2,
    publishAt: 0,
    metric: perCpu,
    target: 4,
    latency: true,
  },
  link("redis-link", "one Redis"),
  link("redis-link-cluster", "a Redis Cluster of three primaries, sharded wire", { cluster: true, wire: "sharded" }),
  deflate("records", "not compressed"),
  deflate("records-deflate", "with perMessageDeflate", {
    more: "socketio: { perMessageDeflate: {} }",
    nodeArgs: ["--per-message-deflate"],
  }),
  {
    key: "idle",
    name: "memory of an idle WebSocket connection",
    args: ["--clients", "10000", "--idle"],
    systems: ["rookery", "node"],
    metric: (report) => report.memory.perConnection / 1024,
    unit: "KiB",
    target: { most: 14, belowNode: true },
  },
  connect("connect-none", "without a token"),
  connect("connect-hs256", "HS256 token", { token: "HS256", target: { most: 0.22 } }),
  connect("connect-rs256", "RS256 token", { token: "RS256" }),
  connect("connect-es256", "ES256 token", { token: "ES256" }),
  http("http-publish-one", "16 kept connections, a room of one", { target: { bare: 0.6 } }),
  http("http-publish-1000", "16 kept connections, a room of 1,000", { systems: ["rookery", "node"], http: { members: 1000 } }),
  http("http-publish-h2", "16 streams of an HTTP/2 connection, a room of one", {
    systems: ["rookery", "bare"],
    http: { http2: true },
    target: { bare: 0.6 },
  }),
  http("http-batch-100", "16 kept connections, a room of one, batches of 100", {
    http: { path: "/api/publish/batch", body: Array(100).fill(publication), publications: 100 },
  }),
  events("events-publish", "`publish` to a room that nobody is in", [
    ["publish", { room: "nobody-{n}", event: "b", data: "x".repeat(128) }],
  ]),
  events("events-join", "`join` and `leave` in turn", [
    ["join", { room: "own-{n}" }],
    ["leave", { room: "own-{n}" }],
  ]),
  ...scale("one-member", "one member a room, 1 in flight in each", (clients) => ["--rooms", `${clients}`, "--inflight", "1"]),
  ...scale("hot-4", "one room, 4 in flight", () => ["--inflight", "4"]),
];
