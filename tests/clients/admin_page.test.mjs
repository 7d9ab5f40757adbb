// The page of `@socket.io/admin-ui` in a real browser.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import test from "node:test";
import { POLLING, WEBSOCKET, configured, withAdmins } from "./admins.mjs";
import { Browser } from "./browser.mjs";
import { atEnd, collect, connected, join, pair, until } from "./harness.mjs";

/** The page of the package, on a web server of its own. */
async function page(t) {
  const folder = path.join(path.dirname(createRequire(import.meta.url).resolve("@socket.io/admin-ui")), "../ui/dist");
  const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, "http://x").pathname;
    try {
      const file = path.join(folder, name === "/" ? "index.html" : name);
      response.setHeader("content-type", types[path.extname(file)] ?? "application/octet-stream");
      response.end(await readFile(file));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(t, () => new Promise((resolve) => server.close(resolve).closeAllConnections?.()));
  return `http://127.0.0.1:${server.address().port}`;
}

/** Types into the field with this label. */
async function fill(page, label, text) {
  await page.value(`(() => {
    const label = [...document.querySelectorAll("label")].find((at) => at.innerText === ${JSON.stringify(label)});
    const input = document.getElementById(label.htmlFor);
    input.value = "";
    input.focus();
    input.dispatchEvent(new Event("input"));
  })()`);
  await page.send("Input.insertText", { text });
}

function press(page, text) {
  return page.value(`[...document.querySelectorAll("button, a")].find((at) => at.innerText.trim().toUpperCase() === ${JSON.stringify(text)}).click()`);
}

test("the page logs in and shows the servers, clients and rooms of both instances", async (t) => {
  const origin = await page(t);
  const cors = { origins: [origin], credentials: true };
  const config = await withAdmins(t, {}, { socketio: { cors } });
  const { one, other } = await pair(t, configured(config));
  const [here, there] = [await connected(t, WEBSOCKET, one.url), await connected(t, POLLING, other.url)];
  await join(here, "room-of-one");
  await join(there, "room-of-other");
  const browser = await Browser.start(t);
  const ui = await browser.open(origin);
  await ui.look({ width: 1400 });
  const has = (text) => `document.body.innerText.includes(${JSON.stringify(text)})`;
  await ui.until("the form", "[...document.querySelectorAll('label')].some((at) => at.innerText === 'Server URL')");
  await fill(ui, "Server URL", one.url);
  await fill(ui, "Username", "ada");
  await fill(ui, "Password", "wrong");
  await press(ui, "CONNECT");
  await ui.until("it is refused", has("Invalid credentials"));
  await fill(ui, "Password", "secret");
  await press(ui, "CONNECT");
  await ui.until("it is connected", `!(${has("Invalid credentials")}) && localStorage.getItem("session_id")`);

  const rows = "[...document.querySelectorAll('table tbody tr')].map((row) => row.innerText)";
  const go = (view) => ui.value(`location.hash = "#/${view}/"`);
  await go("servers");
  for (const { pod } of [one, other]) await ui.until(`the server ${pod}`, `${rows}.some((row) => row.includes("#${pod}"))`);
  await go("clients");
  await ui.until("three clients", `${rows}.length === 3`);
  await go("sockets");
  for (const client of [here, there]) await ui.until("a socket", has(client.id));
  await go("rooms");
  for (const room of ["room-of-one", "room-of-other"]) await ui.until(room, has(room));
  await join(there, "another-room");
  await ui.until("a room that is new", has("another-room"));
  await ui.picture("admin-ui");

  // The session outlives the page.
  await ui.go(`${origin}/`);
  await ui.until("it is connected again", `${has("CONNECTED")} && !(${has("Invalid credentials")})`);
  await go("sockets");
  await ui.until("its sockets again", `${has(here.id)} || ${has(there.id)}`);
  // Disconnected by a click on the page.
  const gone = collect(there, "disconnect");
  await ui.until("both are listed", `${has(here.id)} && ${has(there.id)}`);
  await ui.value(`[...document.querySelectorAll("tr")].find((row) => row.innerText.includes("${there.id}")).querySelector("button").click()`);
  await until("it is disconnected", () => gone.length === 1);
  await ui.until("it is not listed", `!(${has(there.id)})`);
  assert.deepEqual(ui.complaints.filter(({ source }) => source === "exception"), []);
});
