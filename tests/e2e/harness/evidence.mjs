// Evidence of a failure: logs, events and states of everything involved.
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { kubectl } from "./kubectl.mjs";

const folder = process.env.E2E_EVIDENCE ?? "target/e2e-evidence";
const LINES = 15;
const WIDTH = 300;

/** Collects the state of `namespaces` into a folder, and prints the end of the most useful parts. */
export async function collect(name, namespaces) {
  const place = path.join(folder, `${name.replace(/[^a-z0-9]+/gi, "-").slice(0, 80)}-${Date.now()}`);
  await mkdir(place, { recursive: true });
  for (const namespace of new Set(namespaces)) {
    const keep = async (file, ...args) => {
      const text = await kubectl(...args, "-n", namespace).catch((error) => error.message);
      await writeFile(path.join(place, `${namespace}-${file}`), text);
      return text;
    };
    const pods = await keep("pods.txt", "get", "pods", "-o", "wide");
    const events = await keep("events.txt", "get", "events", "--sort-by=.lastTimestamp");
    await keep("objects.txt", "get", "deployments,replicasets,services,endpointslices,ingresses,hpa,pdb,networkpolicies", "-o", "wide");
    await keep("rookeries.yaml", "get", "rookeries", "-o", "yaml");
    await keep("describe.txt", "describe", "pods,hpa");
    console.log(`--- ${namespace}: pods\n${tail(pods)}\n--- ${namespace}: events\n${tail(events)}`);
    for (const pod of pods.split("\n").slice(1)) {
      const [podName] = pod.split(" ");
      if (podName === "") continue;
      const log = await keep(`${podName}.log`, "logs", podName, "--all-containers", "--prefix", "--tail=5000");
      await keep(`${podName}.previous.log`, "logs", podName, "--all-containers", "--previous");
      console.log(`--- ${namespace}: ${podName}\n${tail(log)}`);
    }
  }
  console.log(`--- more of it in ${place}`);
}

function tail(text) {
  const lines = text.trimEnd().split("\n").slice(-LINES);
  return lines.map((line) => line.slice(0, WIDTH)).join("\n");
}
