// Writes the dashboards into the charts: `node dashboards/generate.mjs`. A test sees that what is
// there is what this would write.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { fleet } from "./fleet.mjs";
import { rooms } from "./rooms.mjs";

/** Where the charts have them. */
export const DIRECTORIES = ["rookery", "rookery-operator"].map((chart) => new URL(`../charts/${chart}/dashboards/`, import.meta.url));

/** Every dashboard, by the name of its file. */
export const dashboards = Object.fromEntries([fleet, rooms].map((builder) => named(numbered(builder.build()))));

/** A dashboard as its file holds it. */
export const text = (dashboard) => `${JSON.stringify(dashboard, null, 2)}\n`;

function named(dashboard) {
  return [`${dashboard.uid}.json`, dashboard];
}

/** Gives panels the numbers by which Grafana's links find them. */
function numbered(dashboard) {
  return { ...dashboard, panels: dashboard.panels.map((panel, index) => ({ ...panel, id: index + 1 })) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const directory of DIRECTORIES) {
    for (const [file, dashboard] of Object.entries(dashboards)) await writeFile(new URL(file, directory), text(dashboard));
  }
}
