// The worked examples, each with both of its backends: two pages of a real browser on two instances.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { Browser } from "./browser.mjs";
import { atEnd, freePort, until } from "./harness.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const examples = path.join(here, "../../examples");
const PYTHON = path.join(here, "../.venv/bin/python");
const BACKENDS = ["node", "python"];

/** A running example: the URLs of its two pages, as it printed them. */
async function running(t, example, backend) {
  const ports = [];
  for (let n = 0; n < 6; n++) ports.push(await freePort());
  const arguments_ = [path.join(examples, "run.mjs"), example, "--backend", backend, "--ports", ports.join(",")];
  const child = spawn(process.execPath, arguments_, {
    env: { ...process.env, PYTHON, ROOKERY_BIN: process.env.ROOKERY_BIN ?? path.join(here, "../../target/debug/rookery") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const output of [child.stdout, child.stderr]) output.on("data", (data) => (printed += data));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  atEnd(t, async () => {
    child.kill("SIGTERM");
    await ended;
  });
  await until(() => `${example} runs; it printed:\n${printed}`, () => {
    assert.equal(child.exitCode, null, printed);
    return printed.includes("Ctrl-C stops it.");
  });
  return printed.match(/http:\/\/localhost:\d+\/\?server=\S+/g);
}

/** The two pages of an example, connected. */
async function pages(t, example, backend) {
  const browser = await Browser.start(t);
  const open = [];
  for (const url of await running(t, example, backend)) {
    const page = await browser.open(url);
    await page.look({ width: 900, height: 600 });
    await page.until("it is connected", `/^connected to /.test(document.getElementById("state").innerText)`);
    open.push(page);
  }
  return { browser, open };
}

const shows = (page, selector, text) =>
  page.until(`${selector} shows ${text}`, `document.querySelector("${selector}").innerText.includes(${JSON.stringify(text)})`);

/** Types into a field. */
async function types(page, selector, text) {
  await page.front();
  await page.click(selector);
  await page.send("Input.insertText", { text });
  await page.until(`${selector} has it`, `document.querySelector("${selector}").value === ${JSON.stringify(text)}`);
}

/** Types into a field and presses Enter; the page empties the field once that has arrived. */
async function sends(page, selector, text) {
  await types(page, selector, text);
  await page.type("");
  await page.until("it has arrived", `document.querySelector("${selector}").value === ""`);
}

for (const backend of BACKENDS) {
  test(`chat, backend in ${backend}: people, typing, messages and history`, async (t) => {
    const { browser, open: [ada, grace] } = await pages(t, "chat", backend);
    for (const page of [ada, grace]) await shows(page, "#people", "Ada\nGrace");

    await types(ada, "#text", "Good morning");
    await shows(grace, "#typing", "Ada is typing");
    await ada.type("");
    for (const page of [ada, grace]) await shows(page, "#messages", "Ada: Good morning");
    await sends(grace, "#text", "Hello Ada");
    for (const page of [ada, grace]) await shows(page, "#messages", "Grace: Hello Ada");

    const url = await grace.value("location.href");
    const late = await browser.open(url.replace("name=Grace", "name=Edsger"));
    await shows(late, "#messages", "Ada: Good morning\nGrace: Hello Ada");
    await shows(ada, "#people", "Ada\nEdsger\nGrace");
    await ada.picture("example-chat");
    await late.close();
    await ada.until("Edsger has left", `document.getElementById("people").innerText === "Ada\\nGrace"`);
  });

  test(`board, backend in ${backend}: cursors, lines, and those that came before`, async (t) => {
    const { browser, open: [one, two] } = await pages(t, "board", backend);
    for (const page of [one, two]) await shows(page, "#count", "2");

    const mouse = (page, type, x, y) =>
      page.send("Input.dispatchMouseEvent", { type, x, y, button: "left", buttons: 1, clickCount: 1 });
    await one.front();
    await mouse(one, "mousePressed", 100, 150);
    for (let n = 0; n < 20; n++) await mouse(one, "mouseMoved", 100 + 10 * n, 150 + (n % 5) * 10);
    await two.until("the cursor of the other", `document.querySelectorAll(".cursor").length === 1`);
    await mouse(one, "mouseReleased", 290, 190);
    const lines = `document.querySelectorAll("polyline").length === 1`;
    for (const page of [one, two]) await page.until("the line", lines);

    const late = await browser.open(await two.value("location.href"));
    await late.until("the line that was there", lines);
    for (const page of [one, two]) await shows(page, "#count", "3");
    await two.picture("example-board");
    await one.close();
    await two.until("the cursor goes with who left", `document.querySelectorAll(".cursor").length === 0`);
    await shows(two, "#count", "2");
  });

  test(`notifications, backend in ${backend}: delivered, kept until read`, async (t) => {
    const { browser, open: [ada, grace] } = await pages(t, "notifications", backend);
    await types(ada, "#to", "Grace");
    await sends(ada, "#text", "Your build has passed");
    await shows(grace, "#unread", "Your build has passed");
    assert.equal(await ada.value(`document.getElementById("unread").innerText`), "");

    const url = await grace.value("location.href");
    await grace.close();
    await sends(ada, "#text", "Your turn to review");
    const again = await browser.open(url);
    await shows(again, "#unread", "Your build has passed");
    await shows(again, "#unread", "Your turn to review");
    await again.picture("example-notifications");
    await again.front();
    await again.click("#unread button");
    await again.until("one is left", `document.querySelectorAll("#unread li").length === 1`);
    await again.go(url);
    await shows(again, "#unread", "Your turn to review");
    await again.until("what was read stays away", `document.querySelectorAll("#unread li").length === 1`);
  });
}

test("each backend has under 80 lines", async () => {
  for (const example of ["chat", "board", "notifications"]) {
    for (const file of ["backend.mjs", "backend.py"]) {
      const lines = (await readFile(path.join(examples, example, file), "utf8")).trimEnd().split("\n").length;
      assert.ok(lines < 80, `examples/${example}/${file} has ${lines} lines`);
    }
  }
});
