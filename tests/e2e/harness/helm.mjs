// helm, and the charts under test.
import path from "node:path";
import { fileURLToPath } from "node:url";
import { command } from "./kubectl.mjs";

const CHARTS = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../../charts");

/** The chart of a service. */
export const CHART = path.join(CHARTS, "rookery");

/** The chart of the operator and the CRD. */
export const OPERATOR_CHART = path.join(CHARTS, "rookery-operator");

/** helm with these arguments. */
export function helm(...args) {
  return command("helm", args, { patience: 300_000 });
}

/** helm with a tree of values on its standard input, for `install` and `upgrade`. */
export function helmWith(values, ...args) {
  // JSON is YAML.
  return command("helm", [...args, "--values", "-"], { input: JSON.stringify(values), patience: 300_000 });
}

/** Joins trees of values: later ones win. */
export function merged(...trees) {
  const result = {};
  for (const tree of trees) {
    for (const [key, value] of Object.entries(tree ?? {})) {
      const both = isTree(value) && isTree(result[key]);
      result[key] = both ? merged(result[key], value) : value;
    }
  }
  return result;
}

function isTree(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
