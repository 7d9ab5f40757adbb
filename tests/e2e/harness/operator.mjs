// The operator that the tests share: a release of its chart.
import { OPERATOR_CHART, helm, helmWith, merged } from "./helm.mjs";
import { ROOKERY, parts } from "./images.mjs";
import { all, get, isReady, kubectl } from "./kubectl.mjs";
import { until } from "./until.mjs";

/** Its namespace. */
export const NAMESPACE = process.env.E2E_OPERATOR_NAMESPACE ?? "rookery-system";

/** Its release, and the name of its objects. */
export const RELEASE = "rookery-operator";

/** Distinguishes builds with the same image name: a pod of another build is replaced. */
const BUILD = process.env.E2E_IMAGE_ID ?? "unknown";

/** Installs it, unless the image under test is already installed, and waits until it is ready. */
export async function ensure() {
  const there = await get(NAMESPACE, "deployment", RELEASE);
  if (there?.spec.template.metadata.annotations["e2e/image"] === BUILD && there.status.readyReplicas === 2) return;
  await upgrade();
}

/**
 * Installs it, or upgrades it to the chart and the image under test, and waits until it is ready. It
 * takes over the CRD that an earlier release left.
 */
export function upgrade(values = {}, { release = RELEASE, namespace = NAMESPACE } = {}) {
  return command(["upgrade", "--install", "--take-ownership"], values, release, namespace);
}

/** Installs it as the docs do on a cluster that never had one, and waits until it is ready. */
export function install(values = {}, { release = RELEASE, namespace = NAMESPACE } = {}) {
  return command(["install"], values, release, namespace);
}

function command(args, values, release, namespace) {
  const all = merged({ image: parts(ROOKERY), podAnnotations: { "e2e/image": BUILD } }, values);
  const wait = ["--namespace", namespace, "--create-namespace", "--wait", "--timeout", "120s"];
  return helmWith(all, ...args, release, OPERATOR_CHART, ...wait);
}

/** Uninstalls it, and leaves its namespace. */
export async function uninstall({ release = RELEASE, namespace = NAMESPACE } = {}) {
  await helm("uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait");
}

/** Uninstalls it and deletes its namespace; does nothing if it is not installed. */
export async function remove() {
  await uninstall();
  await kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s");
}

/** Its pods, once all are ready and no old one is left. */
export function pods() {
  return until("the operator's pods are ready and alone", async () => {
    const { spec } = await get(NAMESPACE, "deployment", RELEASE);
    const found = await all(NAMESPACE, "pods", "app.kubernetes.io/component=operator");
    return found.length === spec.replicas && found.every(isReady) && found;
  });
}
