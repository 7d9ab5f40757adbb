// `Rookery` resources written by hand, and what the operator made of them.
import { all, get } from "./kubectl.mjs";

/** Every kind that an operator makes for a resource with a host, on a cluster without Prometheus's. */
export const KINDS = [
  "serviceaccount",
  "configmap",
  "service",
  "networkpolicy",
  "poddisruptionbudget",
  "deployment",
  "horizontalpodautoscaler",
  "ingress",
];

/** A resource for everybody, one server in memory; `spec` says what else. */
export function rookery(namespace, name, spec = {}) {
  return {
    apiVersion: "rookery.dev/v1alpha1",
    kind: "Rookery",
    metadata: { namespace, name },
    spec: { config: { auth: { anonymous: true } }, ...spec },
  };
}

/** The objects that the operator made for a resource. */
export function owned(namespace, name) {
  const selector = `app.kubernetes.io/managed-by=rookery-operator,app.kubernetes.io/instance=${name}`;
  return all(namespace, KINDS.join(","), selector);
}

/** A condition of a resource, if it is about what is asked for now. */
export async function condition(namespace, name, type) {
  const { metadata, status } = await get(namespace, "rookery", name);
  const found = status?.conditions?.find((one) => one.type === type);
  return found?.observedGeneration === metadata.generation ? found : undefined;
}

/** `Service chat`. */
export function title({ kind, metadata }) {
  return `${kind} ${metadata.name}`;
}

/** What of an object is somebody's wish: neither state, nor what the cluster chose or counts. */
export function wish({ kind, metadata, spec, data }) {
  const { name, labels, ownerReferences } = metadata;
  const annotations = { ...metadata.annotations };
  delete annotations["deployment.kubernetes.io/revision"];
  const asked = { ...spec };
  if (kind === "Service") {
    delete asked.clusterIP;
    delete asked.clusterIPs;
  }
  return { kind, name, labels, annotations, ownerReferences, spec: asked, data };
}

/** The same of many, by their titles. */
export function wishes(objects) {
  return Object.fromEntries(objects.map((object) => [title(object), wish(object)]));
}
