// The operator that the tests share: a release of the chart with nothing but the operator.
import { CHART, helm, helmWith } from "./helm.mjs";
import { ROOKERY, parts } from "./images.mjs";
import { kubectl } from "./kubectl.mjs";

/** Its namespace. */
export const NAMESPACE = process.env.E2E_OPERATOR_NAMESPACE ?? "rookery-system";

const RELEASE = "rookery";

/** Installs it, unless the image under test is there already, and waits until it is ready. */
export async function ensure() {
  const values = {
    image: parts(ROOKERY),
    rookery: { enabled: false },
    // A pod of another build is replaced although the image's name stays.
    operator: { podAnnotations: { "e2e/image": process.env.E2E_IMAGE_ID ?? "unknown" } },
  };
  const args = ["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s"];
  await helmWith(values, "upgrade", "--install", RELEASE, CHART, ...args);
}

/** Uninstalls it and deletes its namespace; does nothing where it is not installed. */
export async function remove() {
  await helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait");
  await kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s");
}
