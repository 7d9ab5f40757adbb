// What stock clients of every generation may do, and those before them did: binary data as text,
// queries in namespaces, no root, no revision in the URL. Node's server takes all of it.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { Instance, KINDS, ask, collect, connected, directory, join, kind, until } from "./harness.mjs";

for (const which of KINDS) {
  test(`${which.name}: a client without binary frames sends and receives binary data`, async (t) => {
    const instance = await Instance.start(t, {});
    const [plain, member] = [await connected(t, kind(4, "websocket"), instance.url), await connected(t, which, instance.url, { forceBase64: true })];
    for (const socket of [plain, member]) await join(socket, "room");
    const heard = [plain, member].map((socket) => collect(socket, "said"));
    const data = { first: Buffer.from([1, 2, 3]), more: [Buffer.alloc(0), Buffer.from("ü")] };
    for (const from of [member, plain]) {
      assert.equal((await ask(from, "publish", { room: "room", event: "said", data })).status, "SUCCESS");
    }
    await until("both heard both", () => heard.every((list) => list.length === 2));
    for (const [value] of heard.flat()) {
      assert.deepEqual([value.first, ...value.more].map((bytes) => [...bytes]), [[1, 2, 3], [], [195, 188]]);
    }
    assert.ok(member.connected && plain.connected);
  });
}

const SECRET = "a secret that is long enough for HS256";
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function token(claims) {
  const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded({ exp: 4e9, ...claims })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

for (const transport of ["websocket", "polling"]) {
  test(`Socket.IO 2 by ${transport}: the query of a namespace belongs to its CONNECT`, async (t) => {
    const secretFile = path.join(await directory(t), "secret");
    await writeFile(secretFile, SECRET);
    const auth = { jwt: { algorithms: ["HS256"], secretFile }, queryParam: "access" };
    const instance = await Instance.start(t, { namespaces: ["/admin"], auth });
    const which = kind(2, transport);
    for (const [url, options] of [
      [`${instance.url}/admin?token=${token({ sub: "ann" })}`, {}],
      [`${instance.url}/admin`, { query: { access: token({ sub: "ann" }), more: "1&2=3" } }],
    ]) {
      const socket = await connected(t, which, url, options);
      await join(socket, "room");
      const { body } = await instance.api("GET", "/api/rooms/room?namespace=/admin");
      assert.deepEqual(body.members.map(({ user }) => user), ["ann"]);
      socket.close();
      await until("it has left", async () => (await instance.api("GET", "/api/rooms/room?namespace=/admin")).body.members.length === 0);
    }
    await assert.rejects(connected(t, which, `${instance.url}/admin?token=none`), /unauthenticated/);
  });

  test(`Socket.IO 2 by ${transport}: a session goes on where the root namespace is not offered`, async (t) => {
    const instance = await Instance.start(t, { namespaces: ["/admin"] });
    const which = kind(2, transport);
    const socket = await connected(t, which, `${instance.url}/admin?x=1`);
    assert.equal((await ask(socket, "join", { room: "room" })).status, "SUCCESS");
    await assert.rejects(connected(t, kind(4, transport), instance.url), /Invalid namespace/);
  });
}

test("a client that does not name its revision speaks 3, where that is allowed", async (t) => {
  const instance = await Instance.start(t, {});
  for (const query of ["", "EIO=&", "EIO=2&", "EIO=5&", "EIO=x&"]) {
    const answer = await fetch(`${instance.url}/socket.io/?${query}transport=polling`);
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    assert.match(text, /^\d+:0\{"/, "a payload of revision 3");
  }
  const refusing = await Instance.start(t, { socketio: { eio3: false } });
  for (const query of ["", "EIO=3&", "EIO=5&"]) {
    const answer = await fetch(`${refusing.url}/socket.io/?${query}transport=polling`);
    assert.equal(answer.status, 400);
    assert.deepEqual(await answer.json(), { code: 5, message: "Unsupported protocol version" });
  }
});
