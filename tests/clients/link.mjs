// A network link to Redis that a test can slow down, or cut so that neither side learns of it.
import net from "node:net";
import { atEnd } from "./harness.mjs";

export class Link {
  #pairs = new Set();
  #isCut = false;

  /** How long every byte is under way, in milliseconds. */
  delay = 0;

  static async start(t, redis) {
    const link = new Link();
    const server = net.createServer((near) => link.#open(near, redis.port));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    link.url = `redis://127.0.0.1:${server.address().port}`;
    atEnd(t, () => {
      link.#destroy();
      return new Promise((resolve) => server.close(resolve));
    });
    return link;
  }

  #open(near, port) {
    const far = net.connect(port, "127.0.0.1");
    const pair = [near, far];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [far, near]]) {
      from.setNoDelay(true);
      from.on("data", (bytes) => {
        // Nothing overtakes what is under way when the delay is shortened.
        from.due = Math.max(performance.now() + this.delay, from.due ?? 0);
        const write = () => {
          if (!to.destroyed && !this.#isCut) to.write(bytes);
        };
        if (from.due <= performance.now()) write();
        else setTimeout(write, Math.ceil(from.due - performance.now()));
      });
      from.on("error", () => {});
      // What ended on one side ends on the other, unless the link is cut.
      from.on("close", () => {
        if (this.#isCut) return;
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
    if (this.#isCut) for (const socket of pair) socket.pause();
  }

  /** Passes nothing on any more, in either direction; connections stay open, and new ones are accepted. */
  cut() {
    this.#isCut = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  /** Serves new connections again; those of the time before and of the cut are closed. */
  mend() {
    this.#destroy();
    this.#isCut = false;
  }

  #destroy() {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#pairs.clear();
  }
}
