// Misbehaving clients lose only their own connection, are counted, and leave nothing behind.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import net from "node:net";
import { test } from "node:test";
import { Instance, collect, connected, join, kind, until, within } from "./harness.mjs";

const SEPARATOR = "\x1e";

/** An Engine.IO 4 session on long-polling, led by hand. */
class Polling {
  static async open(instance) {
    const session = new Polling();
    session.url = `${instance.url}/socket.io/?EIO=4&transport=polling`;
    const [open] = await session.poll();
    session.sid = JSON.parse(open.slice(1)).sid;
    session.url += `&sid=${session.sid}`;
    return session;
  }

  /** Opens one and connects it to the main namespace. */
  static async connect(instance) {
    const session = await Polling.open(instance);
    assert.equal((await session.post("40")).status, 200);
    await session.until("40");
    return session;
  }

  /** The packets of one answer. */
  async poll() {
    const response = await fetch(this.url);
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return text.split(SEPARATOR);
  }

  /** Polls until a packet starts with `start`; gives it. */
  async until(start) {
    for (;;) {
      const found = (await this.poll()).find((packet) => packet.startsWith(start));
      if (found) return found;
    }
  }

  post(body, headers = {}) {
    return fetch(this.url, { method: "POST", body, headers: { "content-type": "text/plain", ...headers } });
  }
}

/** A masked text frame of a client. */
function frame(text) {
  const [payload, mask] = [Buffer.from(text), randomBytes(4)];
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload.map((b, i) => b ^ mask[i % 4])]);
}

/** Starts a WebSocket beside a session's polling; gives the socket and what it says. */
async function probe(instance, sid) {
  const { hostname, port, host } = new URL(instance.url);
  const socket = net.connect(Number(port), hostname);
  const said = { text: "" };
  socket.on("data", (data) => (said.text += data.toString("latin1")));
  socket.on("error", () => {});
  socket.write(
    [
      `GET /socket.io/?EIO=4&transport=websocket&sid=${sid} HTTP/1.1`,
      `Host: ${host}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
      "\r\n",
    ].join("\r\n"),
  );
  await until("101", () => said.text.includes("101 Switching"));
  return { socket, said };
}

test("an aborted upgrade changes nothing: polling continues", async (t) => {
  const instance = await Instance.start(t);
  const session = await Polling.connect(instance);
  await session.post('42["join",{"room":"room"}]');
  for (const stage of ["before the probe", "after the probe", "with nonsense"]) {
    const waiting = session.until("42");
    const { socket, said } = await probe(instance, session.sid);
    if (stage === "after the probe") {
      socket.write(frame("2probe"));
      await until("3probe", () => said.text.includes("3probe"));
    } else if (stage === "with nonsense") {
      socket.write(frame("nonsense"));
      await until("it is closed", () => socket.closed);
    }
    socket.destroy();
    await instance.publish({ room: "room", event: "n", args: [stage] });
    assert.equal(await within(stage, waiting), `42["n","${stage}"]`);
    await until("it may try again", async () => {
      const { socket, said } = await probe(instance, session.sid).catch(() => ({}));
      socket?.destroy();
      return said?.text.includes("101");
    });
  }
  assert.equal(await instance.metric("rookery_connections", { transport: "polling" }), 1);
  await session.post("1");
  await until("it has ended", async () => (await instance.metric("rookery_connections")) === 0);
  assert.equal(await instance.metric("rookery_disconnects_total", { reason: "client" }), 1);
});

test("concurrent polls and malformed packets end only their own session", async (t) => {
  const instance = await Instance.start(t, { limits: { writeStall: "200ms" } });
  const bystander = await connected(t, kind(4, "websocket"), instance.url);
  await join(bystander, "room");
  const disconnects = collect(bystander, "disconnect");
  const left = async (n) => until(`${n} sessions`, async () => (await instance.metric("rookery_connections")) === n);

  const greedy = await Polling.connect(instance);
  const statuses = await Promise.all([fetch(greedy.url), fetch(greedy.url)].map(async (r) => (await r).status));
  assert.ok(statuses.includes(400), String(statuses));
  await left(1);

  for (const body of ["x", "9", "42", "42{", '42["n",', "40".padEnd(10, SEPARATOR), "\u0000"]) {
    const session = await Polling.connect(instance);
    await session.post(body);
    await left(1);
    assert.ok([200, 400].includes((await fetch(session.url)).status));
  }
  const early = await Polling.open(instance);
  await early.post('42["join",{"room":"room"}]');
  await left(1);

  const large = await Polling.connect(instance);
  assert.equal((await large.post(`4${"x".repeat(1 << 21)}`)).status, 413);
  assert.ok((await instance.metric("rookery_rejected_total", { reason: "payload" })) >= 1);
  await large.post("1");
  await left(1);

  const { members } = await instance.publish({ room: "room", event: "n", args: [] });
  assert.equal(members, 1);
  assert.deepEqual(disconnects, []);
});

test("a session without a namespace and a request head without an end time out and are counted", async (t) => {
  const instance = await Instance.start(t, {
    socketio: { connectTimeout: "500ms" },
    limits: { headerRead: "500ms", writeStall: "200ms" },
  });
  await Polling.open(instance);
  assert.equal(await instance.metric("rookery_connections"), 1);
  await until("it is given up", async () => (await instance.metric("rookery_connections")) === 0);
  const { hostname, port } = new URL(instance.url);
  const slow = net.connect(Number(port), hostname);
  t.after(() => slow.destroy());
  slow.on("error", () => {});
  slow.resume();
  slow.write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n");
  await until("it is closed", () => slow.closed);
  assert.equal(await instance.metric("rookery_rejected_total", { reason: "header_timeout" }), 1);
});

test("invalid Engine.IO requests get the same errors as in Node", async (t) => {
  const instance = await Instance.start(t);
  const get = async (query, options) => {
    const response = await fetch(`${instance.url}/socket.io/?${query}`, options);
    return { status: response.status, code: (await response.json()).code };
  };
  assert.deepEqual(await get("EIO=4&transport=carrier-pigeon"), { status: 400, code: 0 });
  assert.deepEqual(await get("EIO=4&transport=polling&sid=nobody"), { status: 400, code: 1 });
  assert.deepEqual(await get("EIO=4&transport=polling", { method: "POST", body: "40" }), { status: 400, code: 2 });
  assert.deepEqual(await get("EIO=4&transport=websocket"), { status: 400, code: 3 });
  assert.deepEqual(await get("EIO=5&transport=polling"), { status: 400, code: 5 });
});
