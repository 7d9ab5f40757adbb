// The operator that the tests share: a release of the chart with nothing but the operator.
import { CHART, helm, helmWith } from "./helm.mjs";
import { ROOKERY, parts } from "./images.mjs";
import { get, kubectl } from "./kubectl.mjs";

/** Its namespace. */
export const NAMESPACE = process.env.E2E_OPERATOR_NAMESPACE ?? "rookery-system";

const RELEASE = "rookery";

/** Tells builds apart whose images have one name: a pod of another build is replaced. */
const BUILD = process.env.E2E_IMAGE_ID ?? "unknown";

/** Installs it, unless the image under test is there already, and waits until it is ready. */
export async function ensure() {
  const there = await get(NAMESPACE, "deployment", "rookery-operator");
  if (there?.spec.template.metadata.annotations["e2e/image"] === BUILD && there.status.readyReplicas === 2) return;
  const values = {
    image: parts(ROOKERY),
    rookery: { enabled: false },
    operator: { podAnnotations: { "e2e/image": BUILD } },
  };
  const args = ["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s"];
  await helmWith(values, "upgrade", "--install", RELEASE, CHART, ...args);
}

/** Uninstalls it and deletes its namespace; does nothing where it is not installed. */
export async function remove() {
  await helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait");
  await kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s");
}
