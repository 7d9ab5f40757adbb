// How long the keys of an issuer are trusted that cannot be reached.
import assert from "node:assert/strict";
import { createSign, generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { once } from "node:events";
import { test } from "node:test";
import { Instance, KINDS, ask, atEnd, collect, connected, connecting, freePort, until } from "./harness.mjs";

const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const JWKS = JSON.stringify({
  keys: [{ ...publicKey.export({ format: "jwk" }), kid: "one", use: "sig", alg: "RS256" }],
});

function token() {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: "ann", exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${part({ alg: "RS256", kid: "one" })}.${part(claims)}`;
  return `${signed}.${createSign("sha256").update(signed).sign(privateKey, "base64url")}`;
}

/** The message of the refusal of a new client; undefined where it connects. */
function attempt(t, which, url) {
  const socket = connecting(t, which, url, { auth: { token: token() }, reconnection: false });
  return new Promise((resolve) => {
    socket.once("connect", () => resolve(undefined));
    socket.once("connect_error", (error) => resolve(error.message));
  }).finally(() => socket.close());
}

test("keys that could not be fetched for jwksMaxAge are not trusted, and sessions stay", async (t) => {
  const which = KINDS.find((kind) => kind.version === 4);
  const port = await freePort();
  let up = true;
  const issuer = createServer((_, response) => {
    response.statusCode = up ? 200 : 503;
    response.end(up ? JWKS : "");
  });
  issuer.listen(port, "127.0.0.1");
  await once(issuer, "listening");
  atEnd(t, () => issuer.close());
  const jwt = { jwksUrl: `http://127.0.0.1:${port}/keys`, jwksMaxAge: "2s" };
  const instance = await Instance.start(t, { auth: { jwt } });

  const socket = await connected(t, which, instance.url, { auth: { token: token() } });
  const ends = collect(socket, "disconnect");
  // The set is fetched again before it is too old.
  const start = Date.now();
  await until("more time than jwksMaxAge has passed", async () => {
    assert.equal(await attempt(t, which, instance.url), undefined);
    return Date.now() - start > 3000;
  });
  up = false;
  const refusal = await until("a token is refused", () => attempt(t, which, instance.url));
  assert.match(refusal, /keys .* out of date/);
  assert.deepEqual(ends, []);
  assert.equal((await ask(socket, "join", { room: "r" })).status, "SUCCESS");
  assert.equal((await fetch(`${instance.internal}/readyz`)).status, 200);
  const metrics = await (await fetch(`${instance.internal}/metrics`)).text();
  assert.ok(Number(/^rookery_jwks_age_seconds (.*)$/m.exec(metrics)[1]) >= 2, metrics);
  up = true;
  await until("tokens are accepted again", async () => (await attempt(t, which, instance.url)) === undefined);
  assert.deepEqual(ends, []);
});
