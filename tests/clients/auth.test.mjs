// Who may connect, for how long, and how a client is told.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import {
  Instance, KINDS, ask, collect, connected, connecting, directory, join, kind, until, within,
} from "./harness.mjs";

const SECRET = "a secret for tests, long enough for HS256";

function token(claims, secret = SECRET) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** A token of a user, valid for so many seconds. */
function tokenOf(user, seconds = 3600, claims = {}) {
  return token({ sub: user, exp: Math.floor(Date.now() / 1000 + seconds), ...claims });
}

async function guarded(t, more = {}) {
  const secretFile = path.join(await directory(t), "secret");
  await writeFile(secretFile, `${SECRET}\n`);
  const auth = { jwt: { algorithms: ["HS256"], secretFile }, queryParam: "token" };
  return Instance.start(t, { auth, ...more });
}

/** How a kind of client presents a token. Version 2 in Node: headers by polling, else the query. */
function presenting(which, value) {
  return which.version === 2 ? { query: { token: value } } : { auth: { token: value } };
}

/** The code of the one refusal that a client gets. */
async function refusal(t, which, url, options) {
  const socket = connecting(t, which, url, { reconnection: false, ...options });
  const errors = collect(socket, which.version === 2 ? "error" : "connect_error");
  socket.on("connect", () => assert.fail("it must not connect"));
  await until("it is refused", () => errors.length > 0);
  // Another one would have to come before the transport ends.
  socket.close();
  assert.equal(errors.length, 1);
  const [error] = errors[0];
  if (which.version === 2) return error.code;
  assert.ok(error instanceof Error);
  assert.equal(error.data.message, error.message);
  return error.data.code;
}

for (const which of KINDS) {
  test(`${which.name}: a valid token connects; a missing, invalid or expired one is refused once`, async (t) => {
    const { url, ...instance } = await guarded(t);
    const socket = await connected(t, which, url, presenting(which, tokenOf("ann")));
    await join(socket, "r");
    const { members } = await (await fetch(`${instance.internal}/api/rooms/r`)).json();
    assert.deepEqual(members.map((m) => m.user), ["ann"]);
    assert.equal(await refusal(t, which, url, {}), "unauthenticated");
    assert.equal(await refusal(t, which, url, presenting(which, "x.y.z")), "unauthenticated");
    const forged = token({ sub: "ann", exp: 4e9 }, "another secret, also long enough for it");
    assert.equal(await refusal(t, which, url, presenting(which, forged)), "unauthenticated");
    const old = tokenOf("ann", -10);
    assert.equal(await refusal(t, which, url, presenting(which, old)), "token_expired");
  });
}

for (const which of KINDS) {
  test(`${which.name}: a token in the Authorization header is accepted`, async (t) => {
    const { url } = await guarded(t);
    const header = { Authorization: `Bearer ${tokenOf("ann")}` };
    const options =
      which.version === 2
        ? { transportOptions: { polling: { extraHeaders: header }, websocket: { extraHeaders: header } } }
        : { extraHeaders: header };
    await connected(t, which, url, options);
  });
}

for (const which of KINDS) {
  test(`${which.name}: when its token expires, a client is notified, disconnected, and does not reconnect`, async (t) => {
    const { url, ...instance } = await guarded(t);
    const socket = await connected(t, which, url, {
      ...presenting(which, tokenOf("ann", 3)),
      reconnectionDelay: 10,
      reconnectionDelayMax: 20,
    });
    const order = [];
    socket.on("auth:expired", () => order.push("auth:expired"));
    socket.on("disconnect", (reason) => order.push(reason));
    socket.io.on("reconnect_attempt", () => order.push("reconnect_attempt"));
    socket.on("reconnect_attempt", () => order.push("reconnect_attempt"));
    await until("it is disconnected", () => order.length >= 2);
    assert.deepEqual(order, ["auth:expired", "io server disconnect"]);
    await until("its session is over", async () => {
      const text = await (await fetch(`${instance.internal}/metrics`)).text();
      return text.includes('rookery_disconnects_total{reason="token_expired"} 1');
    });
    assert.deepEqual(order, ["auth:expired", "io server disconnect"]);
    assert.equal(socket.connected, false);
  });
}

test("refreshing the token keeps a client connected beyond the old token's expiry", async (t) => {
  const { url } = await guarded(t);
  const which = kind(4, "websocket");
  const socket = await connected(t, which, url, { auth: { token: tokenOf("ann", 2) } });
  const expired = collect(socket, "auth:expired");
  const answer = await ask(socket, "auth:refresh", { token: tokenOf("ann", 3600) });
  assert.equal(answer.status, "SUCCESS");
  assert.equal(answer.event, "auth:refresh");
  assert.ok(!JSON.stringify(answer).includes("eyJ"), "the token is not repeated");
  const short = await connected(t, which, url, { auth: { token: tokenOf("bob", 2) } });
  await within("the other's token ends", new Promise((resolve) => short.once("disconnect", resolve)));
  await join(socket, "r");
  assert.equal(expired.length, 0);
});

test("without an ack callback, a refresh is answered by auth:refreshed", async (t) => {
  const { url } = await guarded(t);
  for (const which of [kind(4, "polling"), kind(3, "websocket"), kind(2, "polling", "websocket")]) {
    const socket = await connected(t, which, url, presenting(which, tokenOf("ann")));
    const answers = collect(socket, "auth:refreshed");
    socket.emit("auth:refresh", { token: tokenOf("ann") });
    await until("auth:refreshed", () => answers.length === 1);
    assert.equal(answers[0][0].status, "SUCCESS");
    socket.emit("auth:refresh", { token: "no token" });
    await until("a refusal", () => answers.length === 2);
    assert.equal(answers[1][0].status, "ERROR");
    assert.equal(answers[1][0].error.code, "unauthenticated");
  }
});

test("a refresh cannot change the user, and the old token stays valid", async (t) => {
  const { url } = await guarded(t);
  const socket = await connected(t, kind(4, "websocket"), url, { auth: { token: tokenOf("ann") } });
  const answer = await ask(socket, "auth:refresh", { token: tokenOf("bob") });
  assert.equal(answer.status, "ERROR");
  assert.equal(answer.error.code, "forbidden");
  await join(socket, "r");
});

test("a refresh removes the client from rooms that the new claims do not allow", async (t) => {
  const rooms = [{ match: "{workspace}:{app}", join: "workspace in claims.workspaces" }];
  const instance = await guarded(t, { rooms });
  const fresh = (workspaces) => ({ token: tokenOf("ann", 3600, { workspaces }) });
  const socket = await connected(t, kind(4, "websocket"), instance.url, { auth: fresh(["a", "b"]) });
  await join(socket, "a:1");
  await join(socket, "b:1");
  const heard = collect(socket, "news");
  assert.equal((await ask(socket, "auth:refresh", fresh(["b", "c"]))).status, "SUCCESS");
  assert.equal((await instance.publish({ room: "a:1", event: "news", args: ["lost"] })).members, 0);
  assert.equal((await instance.publish({ room: "b:1", event: "news", args: ["kept"] })).members, 1);
  await until("the room that it keeps", () => heard.length > 0);
  assert.deepEqual(heard, [["kept"]]);
  await join(socket, "c:1");
  const again = await ask(socket, "join", { room: "a:1" });
  assert.equal(again.error.code, "forbidden");
});
