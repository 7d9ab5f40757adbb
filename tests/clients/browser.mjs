// A real browser for tests: Chromium, controlled with the DevTools protocol over a pipe. It is
// $CHROMIUM, or `chromium` on the PATH.
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { atEnd, directory, until, within } from "./harness.mjs";

const FLAGS = [
  "--headless=new",
  "--no-sandbox", // it runs as root in CI
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-extensions",
  "--disable-sync",
  "--host-resolver-rules=MAP *.test 127.0.0.1",
  "--remote-debugging-pipe",
];

/** A browser without any page; it ends with the test. */
export class Browser {
  static async start(t) {
    const browser = new Browser();
    const profile = await directory(t);
    const child = spawn(process.env.CHROMIUM ?? "chromium", [...FLAGS, `--user-data-dir=${profile}`], {
      env: { ...process.env, HOME: profile },
      stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
    });
    browser.answers = new Map();
    browser.pages = new Map();
    browser.log = "";
    child.stderr.on("data", (data) => (browser.log += data));
    const ended = new Promise((resolve) => child.once("exit", resolve));
    atEnd(t, async () => {
      child.kill("SIGKILL");
      await ended;
    });
    child.once("error", (error) => browser.fail(error));
    child.once("exit", (code) => browser.fail(new Error(`chromium ended with ${code}:\n${browser.log}`)));
    browser.out = child.stdio[3];
    browser.out.on("error", (error) => browser.fail(error));
    let rest = "";
    child.stdio[4].setEncoding("utf8").on("data", (data) => {
      const messages = (rest + data).split("\0");
      rest = messages.pop();
      for (const message of messages) browser.heard(JSON.parse(message));
    });
    await within("chromium answers", browser.send("Browser.getVersion"));
    return browser;
  }

  /** Asks the browser, or a page of it; gives the result. */
  send(method, params = {}, sessionId = undefined) {
    const id = (this.last = (this.last ?? 0) + 1);
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      this.answers.set(id, { resolve, reject, method });
      this.out.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  heard({ id, result, error, method, params, sessionId }) {
    if (id === undefined) return this.pages.get(sessionId)?.heard(method, params);
    const asked = this.answers.get(id);
    this.answers.delete(id);
    if (error) asked.reject(new Error(`${asked.method}: ${error.message}`));
    else asked.resolve(result);
  }

  fail(error) {
    this.failure = error;
    for (const { reject } of this.answers.values()) reject(error);
    this.answers.clear();
  }

  /** A page (a tab) at `url`, loaded. */
  async open(url) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId, targetId);
    this.pages.set(sessionId, page);
    for (const domain of ["Page", "Runtime", "Network", "Log"]) await page.send(`${domain}.enable`);
    await page.go(url);
    return page;
  }
}

/** A tab. */
export class Page {
  constructor(browser, session, target) {
    Object.assign(this, { browser, session, target });
    /** Console messages, exceptions and browser reports: `{source, text}`. */
    this.complaints = [];
    /** Every URL that it requested. */
    this.requests = [];
  }

  send(method, params) {
    return within(method, this.browser.send(method, params, this.session));
  }

  heard(method, params) {
    const complain = (source, text) => this.complaints.push({ source, text });
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
    if (method === "Log.entryAdded") complain(params.entry.source, params.entry.text);
    if (method === "Runtime.consoleAPICalled") {
      complain("console", params.args.map(({ value, description }) => value ?? description).join(" "));
    }
    // Responses that a test substitutes for the server's.
    if (method === "Fetch.requestPaused") {
      this.send("Fetch.fulfillRequest", { requestId: params.requestId, ...this.answer }).catch(() => {});
    }
    if (method === "Page.javascriptDialogOpening") complain("dialog", params.message);
    if (method === "Runtime.exceptionThrown") {
      const { text, exception } = params.exceptionDetails;
      complain("exception", exception?.description ?? text);
    }
  }

  async go(url) {
    const { errorText } = await this.send("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.until("the page is loaded", "document.readyState === 'complete'");
  }

  /** The value of an expression, as JSON carries it. */
  async value(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  }

  /** Waits until an expression is true; otherwise reports what the page shows. */
  async until(what, expression) {
    let shown = "";
    return until(
      () => `${what}; the page shows:\n${shown}\n${JSON.stringify(this.complaints)}`,
      async () => {
        const value = await this.value(expression);
        if (!value) shown = await this.value("document.body?.innerText");
        return value;
      },
    );
  }

  /** The visible text at a selector; null if nothing is visible. */
  text(selector) {
    return this.value(`(() => {
      const at = document.querySelector(${JSON.stringify(selector)});
      return at && at.checkVisibility() ? at.innerText : null;
    })()`);
  }

  /** Clicks in the middle of an element, as a mouse does. */
  async click(selector) {
    const { x, y } = await this.value(`(() => {
      const at = document.querySelector(${JSON.stringify(selector)});
      at.scrollIntoView({ block: "center" });
      const { x, y, width, height } = at.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    })()`);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
    }
  }

  /** Types where the focus is, and presses Enter. */
  async type(text) {
    await this.send("Input.insertText", { text });
    const enter = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...enter });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...enter });
  }

  /** Sets the window size and the light or dark scheme. */
  async look({ width = 1280, height = 900, scheme = "light" }) {
    await this.send("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: false,
    });
    await this.send("Emulation.setScrollbarsHidden", { hidden: true });
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** Writes a screenshot to `$PICTURES/NAME.png`, if that is set. */
  async picture(name) {
    const folder = process.env.PICTURES;
    if (!folder) return;
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    await writeFile(path.join(folder, `${name}.png`), Buffer.from(data, "base64"));
  }

  /** Closes it, as a user does. */
  async close() {
    await this.browser.send("Target.closeTarget", { targetId: this.target });
  }

  /** Brings it to the front: the tab that was there is hidden. */
  async front() {
    await this.browser.send("Target.activateTarget", { targetId: this.target });
    await this.send("Page.bringToFront");
  }
}
