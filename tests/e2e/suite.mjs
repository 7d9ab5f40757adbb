// Runs the files of tests one after another, in the order of their numbers; a file that fails is
// run once more (it makes namespaces of its own each time). The last lines name what was flaky
// and count: "N passed, M failed".
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as operator from "./harness/operator.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));

/** How long one file may take, in milliseconds; then it is ended. */
const LIMIT = 16 * 60_000;

/** Runs one file: how many of its tests passed and failed. */
function run(file) {
  return new Promise((resolve, reject) => {
    const args = ["--test", "--test-force-exit", "--test-reporter=spec", path.join(here, file)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"], timeout: LIMIT, killSignal: "SIGKILL" });
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      process.stdout.write(data);
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
for (const file of files) {
  console.log(`\n== ${file}`);
  const began = Date.now();
  let result = await run(file);
  if (result.failed > 0) {
    console.log(`\n== ${file}, once more`);
    result = await run(file);
    if (result.failed === 0) flaky.push(file);
  }
  total.passed += result.passed;
  total.failed += result.failed;
  lines.push(`${file}: ${result.passed} passed, ${result.failed} failed, ${Math.round((Date.now() - began) / 1000)} s`);
}
if (process.env.E2E_KEEP === undefined) await operator.remove();

console.log(`\n${lines.join("\n")}`);
if (files.length === 0) {
  console.log(`no file of tests begins with ${asked.join(" or ")}`);
  total.failed = 1;
}
for (const file of flaky) console.log(`flaky: ${file} failed once and passed in a fresh namespace; mend it`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
