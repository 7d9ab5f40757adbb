// kubectl, as the cluster's administrator.
import { spawn } from "node:child_process";

/** Runs a command and returns its output; fails with its stderr. */
export function command(program, args, { input, patience = 120_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { timeout: patience, killSignal: "SIGKILL" });
    let out = "";
    let said = "";
    child.stdout.on("data", (data) => (out += data));
    child.stderr.on("data", (data) => (said += data));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${program} ${args.join(" ")}: ${signal ?? code}: ${said.trim() || out.trim()}`));
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input ?? "");
  });
}

/** kubectl with these arguments. */
export function kubectl(...args) {
  return command("kubectl", args);
}

/** Applies objects: YAML, or JavaScript objects. */
export function apply(objects, ...args) {
  const input = typeof objects === "string" ? objects : JSON.stringify(list([objects].flat()));
  return command("kubectl", ["apply", ...args, "-f", "-"], { input });
}

/** One object, or undefined if it does not exist. */
export async function get(namespace, kind, name) {
  const printed = await kubectl("get", "-n", namespace, kind, name, "-o", "json", "--ignore-not-found");
  return printed === "" ? undefined : JSON.parse(printed);
}

/** The objects of one or several kinds (`deployments,services`) that match a label selector. */
export async function all(namespace, kinds, selector = "") {
  return JSON.parse(await kubectl("get", "-n", namespace, kinds, "-l", selector, "-o", "json")).items;
}

/** The API server's response at a path, parsed. */
export async function raw(path) {
  return JSON.parse(await kubectl("get", "--raw", path));
}

/** Whether a pod is ready and not terminating. */
export function isReady(pod) {
  return (
    pod.metadata.deletionTimestamp === undefined &&
    (pod.status.conditions ?? []).some(({ type, status }) => type === "Ready" && status === "True")
  );
}

function list(items) {
  return { apiVersion: "v1", kind: "List", items };
}
