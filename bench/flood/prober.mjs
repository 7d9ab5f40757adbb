// Sends requests at a constant rate and prints how long they took, in milliseconds, as JSON:
// `{NAME: {count, failed, p50, p99}}`. A request starts on time whether or not earlier ones have
// been answered; a request that fails counts with the time until it failed.
//
//   node prober.mjs --seconds 10 --probes '[{"name": "livez", "url": "…", "perSecond": 100, "keepAlive": true}]'

import { Agent, get } from "node:http";
import { parseArgs } from "node:util";

const TIMEOUT_MS = 5000;

const { values } = parseArgs({ options: { seconds: { type: "string" }, probes: { type: "string" } } });
const milliseconds = Number(values.seconds) * 1000;
const results = await Promise.all(JSON.parse(values.probes).map(run));
console.log(JSON.stringify(Object.fromEntries(results)));
process.exit(0);

async function run({ name, url, perSecond, keepAlive }) {
  const agent = new Agent({ keepAlive });
  const total = Math.floor((milliseconds * perSecond) / 1000);
  const requests = [];
  const began = performance.now();
  while (requests.length < total) {
    const wait = began + (requests.length * 1000) / perSecond - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    requests.push(time(url, agent));
  }
  const all = await Promise.all(requests);
  const took = all.map((one) => one.took).sort((a, b) => a - b);
  const quantile = (part) => took[Math.ceil(took.length * part) - 1];
  const failed = all.filter((one) => !one.ok).length;
  return [name, { count: took.length, failed, p50: quantile(0.5), p99: quantile(0.99) }];
}

// One request, from before the connection is opened until the whole answer has arrived.
function time(url, agent) {
  return new Promise((resolve) => {
    const began = performance.now();
    const end = (ok) => resolve({ took: performance.now() - began, ok });
    const request = get(url, { agent, signal: AbortSignal.timeout(TIMEOUT_MS) }, (answer) => {
      answer.resume().on("end", () => end(answer.statusCode === 200)).on("error", () => end(false));
    });
    request.on("error", () => end(false));
  });
}
