// Handwritten `Rookery` resources, and the objects that the operator creates for them.
import { all, get } from "./kubectl.mjs";

/** Every kind that the operator creates for a resource with a host, without the Prometheus operator. */
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

/** An anonymous resource with one pod in memory; `spec` adds to it. */
export function rookery(namespace, name, spec = {}) {
  return {
    apiVersion: "rookery.dev/v1alpha1",
    kind: "Rookery",
    metadata: { namespace, name },
    spec: { config: { auth: { anonymous: true } }, ...spec },
  };
}

/** The objects that the operator created for a resource. */
export function owned(namespace, name) {
  const selector = `app.kubernetes.io/managed-by=rookery-operator,app.kubernetes.io/instance=${name}`;
  return all(namespace, KINDS.join(","), selector);
}

/** A condition of a resource, if it is about the current generation. */
export async function condition(namespace, name, type) {
  const { metadata, status } = await get(namespace, "rookery", name);
  const found = status?.conditions?.find((one) => one.type === type);
  return found?.observedGeneration === metadata.generation ? found : undefined;
}

/** `Service chat`. */
export function title({ kind, metadata }) {
  return `${kind} ${metadata.name}`;
}

/** The desired state in an object, without its status and what the cluster sets. */
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

/** The same for many objects, by their titles. */
export function wishes(objects) {
  return Object.fromEntries(objects.map((object) => [title(object), wish(object)]));
}
