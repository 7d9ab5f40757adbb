// The HTTP API for publishers: a release that has a key for it, and requests to one of its pods.
import assert from "node:assert/strict";
import { apply } from "./kubectl.mjs";
import { Release } from "./release.mjs";
import { merged } from "./helm.mjs";

const KEY = "e2e-key-of-the-backend";
const FOLDER = "/etc/keys";

/** Where its pods have a file of {@link install}. */
export const file = (name) => `${FOLDER}/${name}`;

/**
 * Installs a release whose pods accept our API key, and waits until it is ready and connected to Redis. `files`
 * are further secret files, by their names.
 */
export async function install(s, topic, values = {}, files = {}) {
  const release = await Release.prepare(s, topic);
  await apply({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "api-keys", namespace: release.namespace },
    stringData: { keys: `backend:${KEY}\n`, ...files },
  });
  const key = {
    secrets: [{ secretName: "api-keys", mountPath: FOLDER }],
    config: { auth: { apiKeysFile: file("keys") } },
  };
  await release.install(merged(key, values));
  await release.ready(values.replicas?.min);
  await release.linked();
  return release;
}

/** A pod's response to a GET, or to a POST of `body`; fails unless it is a success. */
export async function ask(pod, path, body) {
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
  const options = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  const response = await fetch(`${await pod.internal()}${path}`, options);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}
