// Tokens as clients send them: with a scheme, blanks or a line end around them.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { Instance, ask, collect, connected, connecting, directory, kind, until } from "./harness.mjs";

const SECRET = "a secret for tests, long enough for HS256";

function tokenOf(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

async function guarded(t, more = {}) {
  const secretFile = path.join(await directory(t), "secret");
  await writeFile(secretFile, `${SECRET}\n`);
  const auth = { jwt: { algorithms: ["HS256"], secretFile }, queryParam: "token" };
  return Instance.start(t, { auth, ...more });
}

/** What clients put around a token. */
const AROUND = [
  (token) => `Bearer ${token}`,
  (token) => `bearer ${token}\n`,
  (token) => `BEARER\t${token}`,
  (token) => ` ${token} `,
  (token) => `${token}\r\n`,
  (token) => `\nBearer  ${token}\n`,
];

test("a scheme, blanks and line ends around a token are taken off, wherever it is", async (t) => {
  const { url } = await guarded(t);
  for (const around of AROUND) {
    const token = around(tokenOf("ann"));
    const socket = await connected(t, kind(4, "websocket"), url, { auth: { token } });
    const answer = await ask(socket, "auth:refresh", { token });
    assert.equal(answer.status, "SUCCESS", JSON.stringify(answer));
    await connected(t, kind(3, "polling"), url, { auth: { token } });
    await connected(t, kind(4, "polling"), url, { query: { token } });
    await connected(t, kind(2, "websocket"), url, { query: { token } });
  }
  for (const scheme of ["Bearer ", "bearer  ", "BEARER\t"]) {
    const extraHeaders = { Authorization: `${scheme}${tokenOf("ann")}` };
    await connected(t, kind(4, "websocket"), url, { extraHeaders });
  }
});

test("an empty token is called empty, in each place", async (t) => {
  const { url } = await guarded(t);
  const message = async (options) => {
    const socket = connecting(t, kind(4, "websocket"), url, { reconnection: false, ...options });
    const errors = collect(socket, "connect_error");
    await until("it is refused", () => errors.length > 0);
    assert.equal(errors[0][0].data.code, "unauthenticated");
    return errors[0][0].message;
  };
  for (const empty of ["", "  ", "\n", "Bearer ", "bearer"]) {
    assert.match(await message({ auth: { token: empty } }), /token is empty/);
    assert.match(await message({ query: { token: empty } }), /token is empty/);
  }
  assert.match(await message({ extraHeaders: { Authorization: "Bearer " } }), /token is empty/);
  assert.match(await message({ query: { token: undefined } }), /a token is required|undefined/);
  assert.match(await message({ auth: { token: "Bearer undefined" } }), /the text `undefined`/);
  assert.match(await message({ auth: { token: null } }), /a token is required/);
  const socket = await connected(t, kind(4, "websocket"), url, { auth: { token: tokenOf("ann") } });
  const { error } = await ask(socket, "auth:refresh", { token: " Bearer \n" });
  assert.equal(error.code, "bad_request");
  assert.match(error.message, /token is empty/);
});
