// New clients, while something happens to those that are there.
import { UPGRADE, connected, podOf } from "./clients.mjs";
import { pause } from "./until.mjs";

/** One after the other: connects as a browser does, and leaves. `stop` ends it. */
export class Newcomers {
  /** Who got in: {at, pod}. */
  came = [];
  /** What went wrong for those that did not. */
  refused = [];
  #on = true;

  constructor(release) {
    this.running = this.#run(release);
  }

  async #run(release) {
    while (this.#on) {
      try {
        const socket = await connected(release.ingress, release.host, UPGRADE, { patience: 10_000 });
        this.came.push({ at: Date.now(), pod: podOf(socket) });
        socket.close();
      } catch (error) {
        this.refused.push(error.message);
      }
      await pause(200);
    }
  }

  stop() {
    this.#on = false;
    return this.running;
  }
}
