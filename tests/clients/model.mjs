// A model of rooms, a set of members for each, beside two instances and a Node server on which random joins, leaves,
// publications and faults happen. SEED=n repeats a run; STEPS=n makes it longer.
import assert from "node:assert/strict";
import { ask, connected, join, kind, pause, until } from "./harness.mjs";

export const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
const ROOMS = ["a", "b", "c", "d", "e#f"];
const CLIENTS = [kind(4, "websocket"), kind(4, "polling"), kind(3, "websocket"), kind(2, "websocket")];

/** The configuration of an instance beside its Redis. */
export const LIMITS = { limits: { eventsPerSecond: 10_000, roomsPerClient: 100 } };

/** Random numbers that a seed repeats (splitmix32). */
export class Random {
  constructor(seed) {
    this.state = seed;
  }

  below(limit) {
    this.state = (this.state + 0x9e3779b9) | 0;
    let mixed = this.state ^ (this.state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) % limit;
  }

  one(list) {
    return list[this.below(list.length)];
  }

  /** Up to `limit` different ones. */
  some(list, limit) {
    const chosen = new Set();
    for (let n = this.below(limit + 1); n > 0; n--) chosen.add(this.one(list));
    return [...chosen];
  }
}

/** What one publisher said, in the order of arrival. */
const by = (list, publisher) => list.filter(([name]) => name === publisher).map(([, number]) => number);

const ascending = (list) => [...list].sort((a, b) => a - b);

/** Two instances and a Node server on one Redis, with clients of several kinds on each, and who must hear what. */
export class World {
  /**
   * `isOneWay`: all that a server publishes takes one way, where nothing overtakes, and not a way for each room, and one
   * for what is to several rooms. `node.isOrdered`: the Node server's client of Redis keeps the order of publications, and
   * sends them all, also in faults.
   */
  static async start(t, random, { instances, node, isOneWay }) {
    const world = new World();
    Object.assign(world, { random, instances, node, isOneWay });
    world.members = [];
    world.numbers = new Map();
    world.targets = new Map();
    for (const [place, { url }] of [...instances, node].entries()) {
      for (const which of CLIENTS) world.members.push(await member(t, which, url, place));
    }
    return world;
  }

  /** Who publishes, each with how: the HTTP API of both instances, the Node server, and a client. */
  publishers() {
    const api = (instance) => ({ event, rooms, except, args }) => instance.publish({ event, rooms, except, args });
    const client = this.members[0];
    return [
      ["api 0", api(this.instances[0])],
      ["api 1", api(this.instances[1])],
      ["node", ({ event, rooms, except, args }) => this.node.io.to(rooms).except(except).emit(event, ...args)],
      ["client", async ({ event, rooms: [room], args }) => {
        const answer = await ask(client.socket, "publish", { room, event, data: args });
        assert.equal(answer.status, "SUCCESS", JSON.stringify(answer));
      }],
    ];
  }

  /** A random change of who is in a room; resolves when it is answered. */
  async change() {
    const [member, room] = [this.random.one(this.members), this.random.one(ROOMS)];
    if (member.rooms.has(room)) {
      assert.equal((await ask(member.socket, "leave", { room })).status, "SUCCESS");
      member.rooms.delete(room);
    } else {
      await join(member.socket, room);
      member.rooms.add(room);
    }
  }

  /** A random publication; the model says who must hear it. */
  async publish() {
    const { members, random, numbers, targets } = this;
    const [by, send] = random.one(this.publishers());
    // A client names one room.
    const rooms = by === "client" ? [random.one(ROOMS)] : [...new Set([random.one(ROOMS), ...random.some(ROOMS, 2)])];
    const names = [...ROOMS, random.one(members.filter(({ isAddressable }) => isAddressable)).socket.id];
    const except = by === "client" ? [] : random.some(names, 2);
    const number = (numbers.get(by) ?? 0) + 1;
    numbers.set(by, number);
    targets.set(`${by} ${number}`, rooms);
    const within = (list, { rooms, socket }) => list.some((name) => rooms.has(name) || socket.id === name);
    for (const member of members) {
      if (within(rooms, member) && !within(except, member)) member.expected.push([by, number]);
    }
    await send({ event: "n", rooms, except, args: [by, number] });
  }

  /** Waits until all that was published has arrived: nothing overtakes on one way. */
  async settled() {
    const due = this.members.map(({ syncs }) => syncs);
    for (const [by, send] of this.publishers()) {
      const ways = [["sync"], ...(this.isOneWay ? [] : ROOMS.map((room) => [room]))];
      for (const rooms of by === "client" ? ways : [...ways, ["sync", "nobody"]]) {
        await send({ event: "sync", rooms, except: [], args: [] });
        for (const [index, member] of this.members.entries()) {
          due[index] += Number(rooms.some((room) => room === "sync" || member.rooms.has(room)));
        }
      }
    }
    const behind = () => this.members.filter(({ syncs }, index) => syncs !== due[index]).map(({ name }) => name);
    await until(() => `all is settled (SEED=${SEED}): not ${behind()}`, () => behind().length === 0);
  }

  /** Each member heard exactly what it must, and what one publisher said on one way in its order. */
  check(step) {
    for (const member of this.members) {
      const what = (list) => `step ${step}: ${member.name} hears ${JSON.stringify(list)} (SEED=${SEED})`;
      for (const publisher of this.numbers.keys()) {
        const heard = by(member.heard, publisher);
        assert.deepEqual(ascending(heard), by(member.expected, publisher), what(heard));
        for (const room of [...ROOMS, undefined]) {
          const onWay = heard.filter((number) => this.#isOn(room, this.targets.get(`${publisher} ${number}`)));
          assert.deepEqual(onWay, ascending(onWay), what(onWay));
        }
      }
    }
  }

  /** Whether what is to `rooms` takes the way of a room, or of several where none is given. */
  #isOn(room, rooms) {
    if (this.isOneWay) return room !== undefined && rooms.includes(room);
    return rooms.length === 1 ? rooms[0] === room : room === undefined;
  }

  /** Takes random steps, and compares what was heard with the model after each. */
  async walk(steps) {
    for (let step = 0; step < steps; step++) {
      for (let n = this.random.below(6); n > 0; n--) await this.change();
      for (let n = this.random.below(12); n > 0; n--) await this.publish();
      await this.settled();
      this.check(step);
    }
    const deliveries = this.members.reduce((sum, { heard }) => sum + heard.length, 0);
    assert.ok(deliveries > steps, `${deliveries} deliveries`);
    for (const counter of ["gaps", "repeats", "unsent", "dropped"]) assert.equal(await this.total(counter), 0, counter);
  }

  /** The sum of a counter of both instances. */
  async total(counter) {
    const values = this.instances.map((instance) => instance.metric(`rookery_redis_${counter}_total`));
    return (await Promise.all(values)).reduce((sum, value) => sum + value, 0);
  }

  /**
   * In traffic to the room `a`, each fault is over when all hear all again; then nothing came twice, order was kept, and
   * what the members of the instances missed of each other was counted, with at most `slack` more.
   */
  async survives(t, faults, slack) {
    for (const member of this.members) await join(member.socket, "a");
    const traffic = new Traffic(this);
    await this.#allHearAll(traffic);
    for (const [name, fault] of faults) {
      t.diagnostic(name);
      await fault();
      await this.#allHearAll(traffic);
    }
    const sent = await traffic.stop();
    // A gap is noticed by what comes after it, which may be lost too.
    await until(`the last ones arrive (SEED=${SEED})`, async () => {
      await traffic.more();
      await pause(100);
      return this.members.every((member) => sent.every((last, place) => from(member, place).includes(last)));
    });
    for (const member of this.members) {
      for (const place of [0, 1, 2]) {
        const isOrdered = place < 2 || this.node.isOrdered;
        const heard = isOrdered ? from(member, place) : ascending(from(member, place));
        assert.ok(heard.every((n, index) => index === 0 || n > heard[index - 1]), `${member.name}: ${heard}`);
        if (place === member.place && isOrdered) assert.equal(heard.length, sent[place], `${member.name} and its own server`);
      }
    }
    await this.#checkCounters(t, sent, slack);
  }

  async #allHearAll({ sent }) {
    const marks = [...sent];
    const deaf = () => this.members.filter((member) => {
      return marks.some((mark, place) => (from(member, place).at(-1) ?? 0) <= mark);
    });
    const what = () => {
      const at = deaf().map((member) => `${member.name} at ${[0, 1, 2].map((place) => from(member, place).at(-1))}`);
      return `all hear all servers, at ${sent}; not ${at.join(", ")} (SEED=${SEED})`;
    };
    await until(what, () => deaf().length === 0, 20_000);
  }

  async #checkCounters(t, sent, slack) {
    // Every member of an instance misses the same of the other instance.
    const missing = (member) => sent[1 - member.place] - from(member, 1 - member.place).length;
    const missed = [0, 1].map((place) => this.members.filter((member) => member.place === place).map(missing));
    for (const counts of missed) assert.equal(new Set(counts).size, 1, `${counts}`);
    const all = missed[0][0] + missed[1][0];
    const counted = (await this.total("gaps")) + (await this.total("unsent"));
    t.diagnostic(`${all} missed of ${sent[0] + sent[1]}, ${counted} counted`);
    // What was on its way when a connection broke may be counted as unsent although it arrived.
    assert.ok(all <= counted && counted <= all + slack, `${all} missed, ${counted} counted`);
    assert.equal(await this.total("repeats"), 0);
  }
}

async function member(t, which, url, place) {
  const socket = await connected(t, which, url);
  const name = `${which.name} of ${place}`;
  // A client of Socket.IO 2 does not know the id that a Node server of Socket.IO 4 gives it.
  const isAddressable = place < 2 || which.version > 2;
  const member = { name, place, socket, isAddressable, rooms: new Set(), heard: [], expected: [], syncs: 0 };
  // A client publishes one argument.
  socket.on("n", (first, number) => member.heard.push(Array.isArray(first) ? first : [first, number]));
  socket.on("sync", () => member.syncs++);
  await join(socket, "sync");
  return member;
}

/** What a member heard of the traffic of a server. */
const from = (member, place) => by(member.heard, `server ${place}`);

/** Each server publishes to the room `a` until `stop()`. */
class Traffic {
  #ways;
  #isOver = false;
  #running;

  constructor({ instances, node }) {
    this.sent = [0, 0, 0];
    this.#ways = [
      ...instances.map((instance) => (args) => instance.publish({ room: "a", event: "n", args })),
      (args) => node.io.to("a").emit("n", ...args),
    ];
    this.#running = this.#ways.map(async (_, place) => {
      while (!this.#isOver) {
        await this.#one(place);
        await pause(2);
      }
    });
  }

  #one(place) {
    return this.#ways[place]([`server ${place}`, ++this.sent[place]]);
  }

  /** One more of each. */
  more() {
    return Promise.all(this.#ways.map((_, place) => this.#one(place)));
  }

  /** Gives how many each published. */
  async stop() {
    this.#isOver = true;
    await Promise.all(this.#running);
    return this.sent;
  }
}
