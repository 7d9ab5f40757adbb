// What Flux and Argo CD make of resources: the library that Flux judges by, and the script for Argo CD of
// docs/status.md in the interpreter that it uses. Both come as Go modules.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { command } from "./kubectl.mjs";

const PROGRAM = fileURLToPath(new URL("../gitops", import.meta.url));
const DOCUMENT = new URL("../../../docs/status.md", import.meta.url);

/** Whether there is a Go toolchain, which builds the program. */
export const available = await command("go", ["version"]).then(
  () => true,
  () => false,
);

/** The script that docs/status.md gives for Argo CD. */
export function script() {
  const block = /^ {2}resource\.customizations\.health\.rookery\.dev_Rookery: \|\n((?: {4}.*\n)+)/m;
  const found = readFileSync(DOCUMENT, "utf8").match(block);
  if (!found) throw new Error("docs/status.md has no health script for Argo CD");
  return found[1].replace(/^ {4}/gm, "");
}

/** For each object `{ flux, argo, message }`. */
export async function verdicts(objects) {
  const folder = mkdtempSync(path.join(tmpdir(), "rookery-gitops-"));
  const [binary, file] = [path.join(folder, "gitops"), path.join(folder, "health.lua")];
  writeFileSync(file, script());
  await command("go", ["build", "-C", PROGRAM, "-o", binary, "."], { patience: 600_000 });
  return JSON.parse(await command(binary, [file], { input: JSON.stringify(objects) }));
}
