// Runs the files of tests one after another, in the order of their numbers, and those that disturb
// nobody beside the others; a file that fails is run once more (it makes namespaces of its own each
// time), one that ran beside others alone. The last lines name what was flaky and count: "N passed,
// M failed".
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as operator from "./harness/operator.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));

/** How long one file may take, in milliseconds; then it is ended. */
const LIMIT = 16 * 60_000;

/** Files that mostly wait, in namespaces of their own: they run beside the files up to {@link LAST}. */
const BESIDE = ["16-a-team", "18-standalone", "22-mistakes"];

/** The last file beside which others may run: those after it drain a node, load the cluster, or take the operator away. */
const LAST = "04-a-pod-dies";

/** Runs one file: how many of its tests passed and failed. `say` gets what it prints. */
function run(file, say) {
  return new Promise((resolve, reject) => {
    const args = ["--test", "--test-force-exit", "--test-reporter=spec", path.join(here, file)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"], timeout: LIMIT, killSignal: "SIGKILL" });
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      say(data);
    });
    child.on("error", reject);
    child.on("close", (code) => {
      const count = (word) => Number(new RegExp(`^[^a-z]*${word} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
      const failed = count("fail") + count("cancelled");
      resolve({ passed: count("pass"), failed: code === 0 ? failed : Math.max(1, failed) });
    });
  });
}

const asked = process.argv.slice(2);
const files = (await readdir(here))
  .filter((file) => file.endsWith(".test.mjs"))
  .filter((file) => asked.length === 0 || asked.some((name) => file.startsWith(path.basename(name))))
  .sort();

const total = { passed: 0, failed: 0 };
const flaky = [];
const lines = [];
const print = (data) => process.stdout.write(data);

function record(file, { passed, failed }, seconds) {
  total.passed += passed;
  total.failed += failed;
  lines.push(`${file}: ${passed} passed, ${failed} failed, ${Math.round(seconds)} s`);
}

/** Runs a file, once more if it fails, and counts it. */
async function runAlone(file, failedBefore = false) {
  console.log(`\n== ${file}${failedBefore ? ", once more" : ""}`);
  const began = Date.now();
  let result = await run(file, print);
  if (result.failed > 0 && !failedBefore) {
    console.log(`\n== ${file}, once more`);
    result = await run(file, print);
    failedBefore = true;
  }
  if (failedBefore && result.failed === 0) flaky.push(file);
  record(file, result, (Date.now() - began) / 1000);
}

/** Runs files one after another beside others, and prints each when it has ended. Gives those that failed. */
async function runBeside(files) {
  const failed = [];
  for (const file of files) {
    const [began, output] = [Date.now(), []];
    const result = await run(file, (data) => output.push(data));
    console.log(`\n== ${file}, beside the others\n${Buffer.concat(output)}`);
    if (result.failed > 0) failed.push(file);
    else record(file, result, (Date.now() - began) / 1000);
  }
  return failed;
}

const first = files.filter((file) => file.split(".")[0] <= LAST);
// Alone, a file is read as it runs.
const beside = first.length > 1 ? files.filter((file) => BESIDE.some((name) => file.startsWith(name))) : [];
if (first.length > 0) await runAlone(first[0]);
// Two files that find no operator would both install it.
if (beside.length > 0) await operator.ensure();
const besides = runBeside(beside);
for (const file of first.slice(1)) await runAlone(file);
for (const file of await besides) await runAlone(file, true);
for (const file of files) if (!first.includes(file) && !beside.includes(file)) await runAlone(file);
if (process.env.E2E_KEEP === undefined) await operator.remove();

console.log(`\n${lines.join("\n")}`);
if (files.length === 0) {
  console.log(`no file of tests begins with ${asked.join(" or ")}`);
  total.failed = 1;
}
for (const file of flaky) console.log(`flaky: ${file} failed once and passed in a fresh namespace; mend it`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
