// The status page in a real browser: it shows the current state without a reload.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { Browser } from "./browser.mjs";
import { Instance, Redis, atEnd, connected, directory, join, kind, pause, until } from "./harness.mjs";

const HOSTILE = "<img src=x onerror=alert(1)>";
const POLLING = kind(4, "polling");
const WEBSOCKET = kind(4, "websocket");
const OLD = kind(2, "websocket");

/** Waits until an element's text is (or matches) this. */
function shows(page, id, text) {
  const expected = text instanceof RegExp ? String(text) : `/^${escaped(text)}$/`;
  const seen = `(document.getElementById(${JSON.stringify(id)}).checkVisibility()
    ? document.getElementById(${JSON.stringify(id)}).innerText : "")`;
  return page.until(`#${id} shows ${expected}`, `${expected}.test(${seen})`);
}

function escaped(text) {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/** The rows of the rooms' table, top first. */
function rooms(page) {
  return page.value(`[...document.querySelectorAll("#rows tr")].map((row) => ({
    room: row.querySelector(".room").textContent,
    cells: [...row.querySelectorAll("td")].map((cell) => cell.innerText),
    bars: row.querySelectorAll(".bars .bar").length,
    titles: [...row.querySelectorAll(".bars title")].map((title) => title.textContent),
    label: row.querySelector(".bars").getAttribute("aria-label"),
  }))`);
}

/** Publishes to rooms until the test ends, or until it is told to stop. */
function traffic(t, instance, ...to) {
  let goesOn = true;
  const done = (async () => {
    for (let n = 0; goesOn; n++) {
      await instance.publish({ room: to[n % to.length], event: "n", args: [n] });
      await pause(5);
    }
  })();
  const stop = () => {
    goesOn = false;
    return done;
  };
  atEnd(t, stop);
  return stop;
}

/** Fails when the page asked anybody else, or its console has anything but what is allowed. */
function isQuiet(page, origin, ...allowed) {
  const elsewhere = page.requests.filter((url) => !url.startsWith(`${origin}/`) && !url.startsWith("data:"));
  assert.deepEqual(elsewhere, []);
  assert.deepEqual(page.complaints.filter(({ source }) => !allowed.includes(source)), []);
}

test("the page shows connections, rooms and Redis, and updates them", async (t) => {
  const redis = await Redis.start(t);
  const instance = await Instance.start(t, {}, { redis });
  const clients = [];
  for (const which of [WEBSOCKET, POLLING, OLD]) {
    clients.push(await connected(t, which, instance.url));
    await join(clients.at(-1), "acme:editor");
  }
  await join(clients[0], HOSTILE);
  const browser = await Browser.start(t);
  const page = await browser.open(`${instance.internal}/`);
  await page.look({});
  await shows(page, "state", "Live");
  await shows(page, "connections", "3");
  await shows(page, "transports", "2 WebSocket, 1 polling");
  await shows(page, "limit", "of 50,000");
  await shows(page, "who", new RegExp(`^pod ${instance.pod}, up `));
  await shows(page, "redis", "Up");
  await shows(page, "redis-url", redis.url);
  await page.value("(window.neverReloaded = true)");

  const stop = traffic(t, instance, "acme:editor", HOSTILE);
  await page.until("both rooms are shown", `document.querySelectorAll("#rows tr").length === 2`);
  await shows(page, "rooms-count", "2 with members here");
  await shows(page, "publications", /^[1-9]/);
  await shows(page, "sources", /^api [1-9][\d,.]*\/s$/);
  await shows(page, "deliveries", /^[1-9]/);
  const shown = await rooms(page);
  assert.deepEqual(shown.map(({ room }) => room).sort(), [HOSTILE, "acme:editor"].sort());
  for (const { room, cells, bars, titles, label } of shown) {
    const [p99, p50, longest, rate, members] = cells;
    for (const figure of [p99, p50, longest]) assert.match(figure, /^[\d.]+ (µs|ms|s)$/, room);
    assert.match(rate, /^(<\s)?[\d,.]+ \/s$/, room);
    assert.equal(members, room === HOSTILE ? "1" : "3");
    assert.ok(bars > 0, room);
    assert.equal(titles.length, 21);
    assert.match(titles[0], /^up to 50 µs: [\d,]+ deliver/);
    assert.match(titles[20], /^over 30 s: [\d,]+ deliver/);
    assert.match(label, /^[\d,]+ deliveries, most of them /);
  }
  assert.equal(await page.value("document.images.length"), 0, "a room's name is text");
  await page.picture("real");

  // By members: the order is another, and stays.
  await page.click("[data-sort=members]");
  await shows(page, "rooms-title", "Biggest rooms");
  await page.until("the bigger room is first", `document.querySelector("#rows .room").innerText === "acme:editor"`);
  assert.equal(await page.value(`document.querySelectorAll("[aria-sort]").length`), 1);
  await page.value("(document.querySelector('#rows tr').marked = true)");

  clients[1].close();
  await shows(page, "connections", "2");
  await shows(page, "transports", "2 WebSocket, 0 polling");
  assert.ok(await page.value("document.querySelector('#rows tr').marked"), "the row is the same element");

  await redis.kill();
  await shows(page, "redis", "Down");
  await shows(page, "redis-more", /never sent$/);
  await redis.run();
  await shows(page, "redis", "Up");
  await shows(page, "redis-more", /^[1-9]\d* reconnect/);
  await stop();
  assert.equal(await page.value("window.neverReloaded"), true);
  isQuiet(page, instance.internal);
});

test("without data the page suggests commands that work", async (t) => {
  const instance = await Instance.start(t);
  const browser = await Browser.start(t);
  const page = await browser.open(`${instance.internal}/`);
  await page.look({});
  await shows(page, "no-rooms", /^Nothing was delivered in the last minute/);
  assert.equal(await page.text("#rooms"), null);
  await page.picture("nothing");

  const binary = process.env.ROOKERY_BIN ?? path.resolve("target/debug/rookery");
  const env = { ...process.env, PATH: `${path.dirname(binary)}:${process.env.PATH}` };
  const subscriber = spawn("sh", ["-c", `exec ${await page.text("#try-sub")}`], { env, stdio: "ignore" });
  const ended = new Promise((resolve) => subscriber.once("exit", resolve));
  atEnd(t, () => {
    subscriber.kill();
    return ended;
  });
  await shows(page, "connections", "1");
  await until("the subscriber is in its room", async () => (await instance.metric("rookery_rooms")) === 1);
  await promisify(execFile)("sh", ["-c", await page.text("#try-pub")], { env });
  await page.until("the room is shown", `document.querySelector("#rows .room")?.innerText === "acme:editor"`);
  assert.equal(await page.text("#no-rooms"), null);

  const top = await promisify(execFile)("sh", ["-c", `${await page.text("#top")} --once`], { env });
  assert.match(top.stdout, /acme:editor/);

  // The same by HTTP; a shell takes the command apart.
  const split = ["-c", `printf '%s\\0' ${await page.text("#curl")}`];
  const { stdout } = await promisify(execFile)("sh", split);
  const [program, url, ...options] = stdout.split("\0").slice(0, -1);
  assert.equal(program, "curl");
  assert.equal(options[0], "-H");
  assert.equal(options[2], "-d");
  const [header, value] = options[1].split(": ");
  const answer = await fetch(url, { method: "POST", headers: { [header]: value }, body: options[3] });
  assert.equal(answer.status, 200);
  assert.equal((await answer.json()).members, 1);
  assert.equal(await page.text("#metrics"), `curl ${instance.internal}/metrics`);
  isQuiet(page, instance.internal);
});

test("the page reports an instance that stopped and finds its successor", async (t) => {
  const first = await Instance.start(t, { drain: { lead: "60s" } });
  const client = await connected(t, WEBSOCKET, first.url);
  const browser = await Browser.start(t);
  const page = await browser.open(`${first.internal}/`);
  await page.look({});
  await shows(page, "connections", "1");
  first.child.kill("SIGTERM");
  await shows(page, "state", "Stopping");
  await shows(page, "waiting", /draining/);
  client.close();
  first.child.kill("SIGKILL");
  await first.stopped();
  await shows(page, "state", "No answer");
  await shows(page, "silent-what", /^No answer from 127\.0\.0\.1:\d+ since \d\d:\d\d:\d\d$/);
  await shows(page, "connections", /^[01]$/);
  assert.equal(await page.value(`document.getElementById("data").className`), "stale");
  await page.picture("silent");

  const next = await Instance.start(t, {}, { internal: new URL(first.internal).host });
  await shows(page, "state", "Live");
  await shows(page, "who", new RegExp(`^pod ${next.pod}, `));
  await shows(page, "connections", "0");
  assert.equal(await page.text("#silent"), null);
  await connected(t, POLLING, next.url);
  await shows(page, "connections", "1");
  isQuiet(page, first.internal, "network");
});

test("the page asks for a key, keeps it in the tab, and sends it to no other server", async (t) => {
  const folder = await directory(t);
  const file = path.join(folder, "api.keys");
  await writeFile(file, "ci:sesame-1-0123456789\nops:sesame-2-0123456789\n");
  const instance = await Instance.start(t, { auth: { apiKeysFile: file, anonymous: true } });
  const browser = await Browser.start(t);
  const page = await browser.open(`${instance.internal}/`);
  await page.look({});
  await shows(page, "state", "Key needed");
  assert.equal(await page.text("#data"), null);
  assert.equal(await page.value(`document.activeElement.id`), "key");
  assert.equal(await page.value(`document.activeElement.type`), "password");
  await page.picture("key");

  await page.type("open");
  await shows(page, "key-problem", "Unknown API key: send one of the keys in auth.apiKeysFile");
  await page.type("clé");
  await shows(page, "key-problem", /ASCII/);
  assert.equal(await page.value("sessionStorage.length"), 0);
  await page.value(`(document.getElementById("key").value = "")`);
  await page.type("sesame-2-0123456789");
  await shows(page, "state", "Live");
  await shows(page, "connections", "0");
  assert.equal(await page.text("#door"), null);
  assert.match(await page.text("#curl"), /-H "Authorization: Bearer \$ROOKERY_KEY"/);
  assert.ok(!(await page.value("document.documentElement.outerHTML")).includes("sesame"));
  assert.deepEqual(await page.value("[Object.values(sessionStorage), localStorage.length, document.cookie]"), [
    ["sesame-2-0123456789"],
    0,
    "",
  ]);

  await page.go(`${instance.internal}/`);
  await shows(page, "state", "Live");
  await page.click("#forget");
  await shows(page, "state", "Key needed");
  assert.equal(await page.value("sessionStorage.length"), 0);

  // A key that is taken away is asked for again, with the reason.
  await page.type("sesame-1-0123456789");
  await shows(page, "state", "Live");
  await writeFile(file, "ops:sesame-2-0123456789\n");
  await shows(page, "key-problem", /^Unknown API key/);
  assert.equal(await page.text("#data"), null);
  assert.ok(page.requests.every((url) => !url.includes("sesame")));
  assert.equal(await page.text("#key-plain"), null);
  const plain = await browser.open(`http://rookery.test:${new URL(instance.internal).port}/`);
  await shows(plain, "key-plain", /not encrypted/);
  isQuiet(page, instance.internal, "network");
});

test("if the API is closed, the page explains how to open it", async (t) => {
  const instance = await Instance.start(t, {}, { internal: "0.0.0.0:0" });
  const origin = `http://127.0.0.1:${new URL(instance.internal).port}`;
  const browser = await Browser.start(t);
  const page = await browser.open(`${origin}/`);
  await shows(page, "state", "Closed");
  await shows(page, "refused-why", /set auth\.apiKeysFile/);
  assert.equal(await page.text("#data"), null);
  await page.click("#again");
  await until("it was asked again", () => page.requests.filter((url) => url.endsWith("/api/status")).length === 2);
  isQuiet(page, origin, "network");
});

test("an unreadable response is not reported as no response", async (t) => {
  const instance = await Instance.start(t);
  const browser = await Browser.start(t);
  const page = await browser.open(`${instance.internal}/`);
  await shows(page, "state", "Live");
  const answers = async (responseCode, body) => {
    page.answer = { responseCode, body: Buffer.from(body).toString("base64") };
    await page.send("Fetch.enable", { patterns: [{ urlPattern: "*/api/status" }] });
  };
  await answers(503, "an answer of a proxy");
  await shows(page, "silent-what", /^127\.0\.0\.1:\d+ answers with an error since /);
  await shows(page, "silent-why", /^The answer was 503\. The figures are from then\./);
  await answers(200, "{}");
  await shows(page, "silent-what", /sent an unexpected answer$/);
  await page.send("Fetch.disable");
  await shows(page, "state", "Live");
  assert.equal(await page.text("#silent"), null);
  isQuiet(page, instance.internal, "network", "console");
});

test("a hidden tab sends no requests and refreshes when it is shown", async (t) => {
  const instance = await Instance.start(t);
  const browser = await Browser.start(t);
  const page = await browser.open(`${instance.internal}/`);
  await shows(page, "state", "Live");
  const other = await browser.open(`${instance.internal}/`);
  await other.front();
  await page.until("it is hidden, and pauses", `document.hidden && document.getElementById("state").textContent === "Paused"`);
  const before = page.requests.length;
  const asked = other.requests.length;
  await until("the other tab asked five times", () => other.requests.length >= asked + 10);
  assert.equal(page.requests.length, before);
  await connected(t, WEBSOCKET, instance.url);
  await page.front();
  await shows(page, "state", "Live");
  await shows(page, "connections", "1");
  isQuiet(page, instance.internal);
});
