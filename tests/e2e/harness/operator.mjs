// The operator that the tests share: a release of the chart with only the operator.
import { CHART, helm, helmWith } from "./helm.mjs";
import { ROOKERY, parts } from "./images.mjs";
import { all, get, isReady, kubectl } from "./kubectl.mjs";
import { until } from "./until.mjs";

/** Its namespace. */
export const NAMESPACE = process.env.E2E_OPERATOR_NAMESPACE ?? "rookery-system";

const RELEASE = "rookery";

/** Distinguishes builds with the same image name: a pod of another build is replaced. */
const BUILD = process.env.E2E_IMAGE_ID ?? "unknown";

/** Installs it, unless the image under test is already installed, and waits until it is ready. */
export async function ensure() {
  const there = await get(NAMESPACE, "deployment", "rookery-operator");
  if (there?.spec.template.metadata.annotations["e2e/image"] === BUILD && there.status.readyReplicas === 2) return;
  await upgrade();
}

/** Installs it, or upgrades it to the chart and the image under test, and waits until it is ready. */
export async function upgrade() {
  const values = {
    image: parts(ROOKERY),
    rookery: { enabled: false },
    operator: { podAnnotations: { "e2e/image": BUILD } },
  };
  const args = ["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s"];
  await helmWith(values, "upgrade", "--install", RELEASE, CHART, ...args);
}

/** Uninstalls it and deletes its namespace; does nothing if it is not installed. */
export async function remove() {
  await helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait");
  await kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s");
}

/** Its pods, once all are ready and no old one is left. */
export function pods() {
  return until("the operator's pods are ready and alone", async () => {
    const { spec } = await get(NAMESPACE, "deployment", "rookery-operator");
    const found = await all(NAMESPACE, "pods", "app.kubernetes.io/component=operator");
    return found.length === spec.replicas && found.every(isReady) && found;
  });
}
