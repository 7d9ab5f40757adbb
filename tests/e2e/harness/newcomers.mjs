// New clients that connect while something happens to the existing ones.
import { UPGRADE, connected, podOf } from "./clients.mjs";
import { pause } from "./until.mjs";

/** Clients that connect like a browser and leave, one after the other, until `stop`. */
export class Newcomers {
  /** The clients that connected: {at, pod}. */
  came = [];
  /** The errors of those that did not. */
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
