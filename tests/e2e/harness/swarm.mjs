// Many clients that connect through the ingress and record what happens to them.
import { UPGRADE, POLLING, WEBSOCKET, connecting, podOf } from "./clients.mjs";
import { until } from "./until.mjs";

/** How many clients connect concurrently while a swarm grows. */
const AT_ONCE = 25;

/** The room that every member of a swarm is in. */
export const ROOM = "swarm";

/** A third polls, a third upgrades, a third starts with a WebSocket. */
export const MIXED = [POLLING, UPGRADE, WEBSOCKET];

/** One client and its history. Times are in milliseconds since the epoch. */
class Member {
  connects = [];
  disconnects = [];
  refusals = [];
  heard = [];

  constructor(ingress, host, transports) {
    this.transports = transports;
    this.socket = connecting(ingress, host, transports, { reconnectionDelay: 200, reconnectionDelayMax: 2_000 });
    this.socket.on("connect", () => {
      this.connects.push({ at: Date.now(), pod: podOf(this.socket) });
      this.inRoom = false;
      this.#join();
    });
    this.socket.on("disconnect", (reason) => this.disconnects.push({ at: Date.now(), reason }));
    this.socket.on("connect_error", (error) => this.refusals.push({ at: Date.now(), why: error.message }));
    this.socket.on("tick", (n) => this.heard.push(n));
  }

  /** Whether it is connected and in the swarm's room. */
  get settled() {
    return this.socket.connected && this.inRoom;
  }

  /** The first 8 characters of its id: the pod that holds it. */
  get pod() {
    return podOf(this.socket);
  }

  #join() {
    const { id } = this.socket;
    this.socket.emit("join", { room: ROOM }, ({ status }) => {
      if (this.socket.id === id) this.inRoom = status === "SUCCESS";
    });
  }
}

export class Swarm {
  members = [];

  constructor(ingress, host) {
    this.ingress = ingress;
    this.host = host;
  }

  /** Adds clients, with these kinds of transports in turn, until all are connected. */
  async grow(count, kinds = MIXED) {
    const added = [];
    while (added.length < count || added.some((member) => !member.settled)) {
      const pending = added.filter((member) => !member.settled).length;
      for (let n = Math.min(AT_ONCE - pending, count - added.length); n > 0; n--) {
        const member = new Member(this.ingress, this.host, kinds[added.length % kinds.length]);
        added.push(member);
        this.members.push(member);
      }
      const before = settled(added);
      await until(() => `the swarm grows beyond ${before} of ${count}`, () => settled(added) > before, { every: 50 });
    }
    return added;
  }

  /** Waits until every client is connected and in the room. */
  async settled(options) {
    const all = this.members.length;
    const what = () => `${settled(this.members)} of ${all} clients are connected`;
    await until(what, () => settled(this.members) === all, options);
  }

  /** How many clients each pod holds: a map by the first 8 characters of their ids. */
  byPod() {
    const pods = new Map();
    for (const member of this.members.filter((m) => m.socket.connected)) {
      pods.set(member.pod, (pods.get(member.pod) ?? 0) + 1);
    }
    return pods;
  }

  /** Disconnects some clients and removes them from the swarm. */
  leave(leaving) {
    for (const { socket } of leaving) socket.close();
    this.members = this.members.filter((member) => !leaving.includes(member));
  }

  /** Disconnects all clients. */
  close() {
    this.leave(this.members);
  }
}

/** Counts of times in buckets of one second, from the first to the last. */
export function perSecond(times) {
  const first = Math.min(...times);
  const counts = [];
  for (const time of times) {
    const second = Math.floor((time - first) / 1000);
    counts[second] = (counts[second] ?? 0) + 1;
  }
  return Array.from(counts, (count) => count ?? 0);
}

function settled(members) {
  return members.filter((member) => member.settled).length;
}
