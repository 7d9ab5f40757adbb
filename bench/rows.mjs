// What is measured, with which systems, and the target for Rookery.
//
// metric: selects the number of a report that the table shows.
// systems: "before" is measured too, where run.mjs is given a second binary.
// target: how Rookery's number must compare with Node's.

export const SYSTEMS = {
  rookery: "Rookery",
  before: "before",
  node: "Node socket.io",
  bare: "bare loop, one send(2) per delivery",
};

const perCpu = (report) => report.deliveriesPerCpuSecond;
const swarm = ["--clients", "1000", "--payload", "128"];

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
    key: "idle",
    name: "memory of an idle WebSocket connection",
    args: ["--clients", "10000", "--idle"],
    systems: ["rookery", "node"],
    metric: (report) => report.memory.perConnection / 1024,
    unit: "KiB",
    target: { most: 16, belowNode: true },
  },
];
