// The command line of run.mjs.

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "10" },
    only: { type: "string" },
    binary: { type: "string", default: process.env.ROOKERY_BENCH_BINARY },
    against: { type: "string" },
    examples: { type: "string" },
    out: { type: "string", default: fileURLToPath(new URL("results", import.meta.url)) },
    "no-build": { type: "boolean", default: false },
    check: { type: "boolean", default: false },
  },
});
const path = (file) => file && resolve(file);

export const options = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  /** Whether a row is measured, by its key or that of its group. */
  wanted: ({ key, group }) => !values.only || values.only.split(",").some((name) => [key, group].includes(name)),
  /** The binary to measure; undefined: the one that run.mjs builds. */
  binary: path(values.binary),
  /** A second Rookery binary, measured in turn as "before"; undefined: none. */
  against: path(values.against),
  /** The folder of the bare loop and the like; undefined: where run.mjs builds them. */
  examples: path(values.examples),
  /** The folder that the table and the chart are written to. */
  out: path(values.out),
  build: !values["no-build"],
  check: values.check,
};
