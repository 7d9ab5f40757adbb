// Keys and tokens for the loads whose clients authenticate: generated once for each run.

import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const VALID_SECONDS = 24 * 60 * 60;
const CLAIMS = { sub: "bench", workspaces: ["bench"], roles: ["editor"] };

const PAIRS = {
  RS256: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
};

const made = new Map();
let folder;

/** The file of the key that verifies tokens of this algorithm, and a token. */
export function credentials(algorithm) {
  if (!made.has(algorithm)) made.set(algorithm, create(algorithm));
  return made.get(algorithm);
}

function create(algorithm) {
  if (!folder) {
    folder = mkdtempSync(join(tmpdir(), "rookery-bench-keys-"));
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  }
  const keyFile = join(folder, algorithm);
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + VALID_SECONDS;
  const signed = `${encode({ alg: algorithm, typ: "JWT" })}.${encode({ ...CLAIMS, exp })}`;
  if (algorithm === "HS256") {
    const secret = randomBytes(32).toString("base64url");
    writeFileSync(keyFile, secret);
    const signature = createHmac("sha256", secret).update(signed).digest("base64url");
    return { algorithm, keyFile, token: `${signed}.${signature}` };
  }
  const { privateKey, publicKey } = PAIRS[algorithm]();
  writeFileSync(keyFile, publicKey.export({ type: "spki", format: "pem" }));
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return { algorithm, keyFile, token: `${signed}.${signature.toString("base64url")}` };
}
