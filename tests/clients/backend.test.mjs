// With the backend of docs/backend.md behind it, Rookery is a general Socket.IO server for stock clients; and the
// code of that page works as it is printed there.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Instance, KINDS, ask, atEnd, collect, connected, connecting, directory, kind, until, within } from "./harness.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const page = await readFile(path.join(here, "../../docs/backend.md"), "utf8");

/** The code blocks of the page in a language. */
function blocks(language) {
  return [...page.matchAll(new RegExp("```" + language + "\\n(.*?)```", "gs"))].map(([, code]) => code);
}

/** The page's backend, running: its URL. */
async function backend(t) {
  const file = path.join(await directory(t), "backend.mjs");
  const code = blocks("js").find((block) => block.includes("createServer"));
  await writeFile(file, code);
  const child = spawn(process.execPath, [file], { env: { ...process.env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  atEnd(t, () => child.kill("SIGKILL"));
  const line = new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  const port = (await within("the backend listens", line)).split(" ").pop();
  return `http://127.0.0.1:${port}/`;
}

async function served(t, config = {}) {
  return Instance.start(t, { events: [], backend: { url: await backend(t) }, ...config });
}

for (const which of KINDS) {
  test(`${which.name}: events of any name, with acks and binary, are answered by the backend`, async (t) => {
    const instance = await served(t);
    const socket = await connected(t, which, instance.url);
    const nested = { a: [1, null, { b: "ü" }], c: true };
    assert.deepEqual(await ask(socket, "any name", nested), nested);
    // More arguments than one, and none.
    const several = await within("an ack", new Promise((resolve) => {
      socket.emit("several", 1, "two", [3], (...args) => resolve(args));
    }));
    assert.deepEqual(several, [1, "two", [3]]);
    assert.deepEqual(await within("an ack", new Promise((r) => socket.emit("none", (...args) => r(args)))), []);
    // Binary at any depth, in an ack and in an event.
    const echoed = collect(socket, "binary");
    const answer = await ask(socket, "binary", { deep: [Buffer.from([1, 2, 3])] });
    assert.deepEqual(Buffer.from(answer.deep[0]), Buffer.from([1, 2, 3]));
    await until("the event comes back", () => echoed.length > 0);
    assert.deepEqual(Buffer.from(echoed[0][0].deep[0]), Buffer.from([1, 2, 3]));
    // The names of the default rules are events like any other.
    assert.deepEqual(await ask(socket, "join", { room: "r" }), { room: "r" });
    // A client that is told nothing else is acknowledged without arguments.
    const said = collect(socket, "said");
    const acked = await within("an ack", new Promise((r) => socket.emit("say", "hi", (...args) => r(args))));
    assert.deepEqual(acked, []);
    await until("it hears itself in the room", () => said.length > 0);
    assert.equal(said[0][1], "hi");
  });

  test(`${which.name}: the backend refuses, greets and disconnects`, async (t) => {
    const instance = await served(t, { namespaces: ["/", "/chat"] });
    const options = (name) => (which.version === 2 ? { query: { name } } : { auth: { name } });
    // In Socket.IO 2 the query of the namespace is the auth payload.
    const url = (name) => `${instance.url}/chat${which.version === 2 ? `?name=${name}` : ""}`;
    const refused = connecting(t, which, url("nobody"), options("nobody"));
    const error = await within("a refusal", new Promise((resolve) => {
      refused.once(which.version === 2 ? "error" : "connect_error", resolve);
    }));
    if (which.version === 2) {
      assert.deepEqual(error, { name: "nobody" });
    } else {
      assert.equal(error.message, "who are you?");
      assert.deepEqual(error.data, { name: "nobody" });
    }
    const socket = connecting(t, which, url("ann"), options("ann"));
    const hello = collect(socket, "hello");
    await until("it is greeted", () => hello.length > 0);
    assert.equal(hello[0][1].name, "ann");
    const other = await connected(t, which, url("bob"), options("bob"));
    const left = collect(other, "left");
    const gone = within("it is disconnected", new Promise((resolve) => socket.once("disconnect", resolve)));
    await ask(socket, "bye");
    assert.equal(await gone, "io server disconnect");
    await until("the others are told", () => left.length > 0);
    assert.deepEqual(left[0], [hello[0][0], "dismissed"]);
  });
}

test("events of one client are answered in their order, on both transports", async (t) => {
  const instance = await served(t);
  for (const transports of ["websocket", "polling"]) {
    const socket = await connected(t, kind(4, transports), instance.url);
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => ask(socket, "n", n)));
    assert.deepEqual(answers, Array.from({ length: 50 }, (_, n) => n));
    const heard = collect(socket, "n");
    for (let n = 0; n < 20; n++) socket.emit("n", n);
    await until("all are back", () => heard.length === 20);
    assert.deepEqual(heard.map(([n]) => n), Array.from({ length: 20 }, (_, n) => n));
  }
});

test("a client of a backend that is away gets connect_error with the code", async (t) => {
  const instance = await Instance.start(t, { events: [], backend: { url: "http://127.0.0.1:9/" } });
  const socket = connecting(t, kind(4, "websocket"), instance.url);
  const error = await within("a refusal", new Promise((resolve) => socket.once("connect_error", resolve)));
  assert.equal(error.data.code, "backend_unavailable");
  assert.equal(await instance.metric("rookery_connects_total", { outcome: "refused" }), 1);
});

const KEY = "a key of the application";
const BODY = Buffer.from('{"type":"check","text":"ü"}');

function signature(seconds, key = KEY) {
  return `t=${seconds},v1=${createHmac("sha256", key).update(`${seconds}.`).update(BODY).digest("hex")}`;
}

/** What each implementation must say: [header, expected]. */
function cases() {
  const now = Math.floor(Date.now() / 1000);
  return [
    [signature(now), true],
    [signature(now - 200), true],
    [signature(now - 400), false],
    [signature(now + 400), false],
    [signature(now, "another key"), false],
    [signature(now).replace(/.$/, (c) => (c === "0" ? "1" : "0")), false],
    [signature(now).replace("t=", "t=1"), false],
    ["", false],
    ["nonsense", false],
  ];
}

test("the page's Node code verifies the signature", async (t) => {
  const file = path.join(await directory(t), "verify.mjs");
  await writeFile(file, blocks("js").find((block) => block.includes("timingSafeEqual")));
  const { verified } = await import(pathToFileURL(file));
  for (const [header, expected] of cases()) assert.equal(verified(KEY, header, BODY), expected, header);
  assert.equal(verified(KEY, undefined, BODY), false);
});

test("the page's Python code verifies the signature", async (t) => {
  const file = path.join(await directory(t), "verify.py");
  const code = blocks("python").find((block) => block.includes("compare_digest"));
  const main = `
import sys, json
key, body, headers = sys.argv[1].encode(), sys.argv[2].encode(), json.loads(sys.argv[3])
print(json.dumps([verified(key, header, body) for header in headers]))
`;
  await writeFile(file, code + main);
  const all = cases();
  const headers = JSON.stringify(all.map(([header]) => header));
  const { stdout, stderr } = spawnSync("python3", [file, KEY, BODY.toString(), headers]);
  assert.equal(stderr.toString(), "");
  assert.deepEqual(JSON.parse(stdout), all.map(([, expected]) => expected));
});
