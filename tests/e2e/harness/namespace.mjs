// A namespace for one test.
import { randomBytes } from "node:crypto";
import { kubectl } from "./kubectl.mjs";

const PREFIX = process.env.E2E_NAMESPACE_PREFIX ?? "e2e-";

/** Creates an empty namespace; `labels` may enforce a Pod Security Standard. */
export async function create(topic, labels = {}) {
  const name = `${PREFIX}${topic}-${randomBytes(3).toString("hex")}`;
  await kubectl("create", "namespace", name);
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  if (pairs.length > 0) await kubectl("label", "namespace", name, ...pairs);
  return name;
}

/** Deletes it with everything in it, and waits until it is gone. */
export async function remove(name) {
  await kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=120s");
}
