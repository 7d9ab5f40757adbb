// A storm: servers that publish to one room all the time, and stock clients of each that count what they hear of each.
// It is the frame of the tests of faults: nothing comes twice, each publisher's order is kept, and what clients miss is
// what the instances of Rookery count.
import assert from "node:assert/strict";
import { Instance, atEnd, connected, join, kind, pause, until } from "./harness.mjs";

/** To whom publications are, in turn: on the wires these are two channels, and each publisher's order is that of each. */
const TARGETS = [["room"], ["room", "nobody"]];

const CLIENTS = [kind(4, "websocket"), kind(2, "websocket"), kind(4, "polling")];

/** What memory may grow by: what the queues to Redis and the clients' outboxes held is given back. */
const MEMORY = 24 << 20;

/** The most publications of an instance that can be on their way when its connection to Redis breaks. */
const UNDER_WAY = 50;

/** Of how many publications of each the silences in health are taken. */
const HEALTHY = 200;

export class Storm {
  #isOver = false;
  #running;
  #inHealth;

  /**
   * `servers` are instances of Rookery, and Node servers; each publishes every `pace` milliseconds at most. A Node server
   * whose connections do not find back after the fault has `recovers: false`.
   */
  static async start(t, servers, { pace = 2 } = {}) {
    const storm = new Storm();
    atEnd(t, () => void (storm.#isOver = true));
    storm.t = t;
    storm.pace = pace;
    storm.places = servers.map((server, place) => {
      const isNode = !(server instanceof Instance);
      const name = `${isNode ? "Node" : "Rookery"} ${place}`;
      const recovers = server.recovers ?? true;
      return { place, server, isNode, name, members: [], sent: TARGETS.map(() => 0), turn: 0, isAlive: true, recovers };
    });
    for (const at of storm.places) {
      for (const which of CLIENTS) at.members.push(await storm.#member(at, which));
    }
    await until("all know each other", async () => {
      const answers = await Promise.all(storm.#instances().map(({ server }) => server.api("GET", "/api/rooms/room")));
      return answers.every(({ body }) => body.members.length === servers.length * CLIENTS.length);
    });
    storm.#running = storm.places.map((at) => storm.#publishes(at));
    await storm.allHearAll(storm.alive());
    storm.#restartSilences();
    await storm.more(HEALTHY);
    storm.#inHealth = storm.#silences();
    storm.#restartSilences();
    for (const at of storm.#instances()) at.memory = await memory(at);
    return storm;
  }

  async #member({ name, server }, which) {
    const socket = await connected(this.t, which, server.url, { reconnection: false });
    // What it heard: of each server, to each target.
    const heard = this.places.map(() => TARGETS.map(() => []));
    const member = { name: `${which.name} of ${name}`, socket, heard, last: new Map(), silence: this.places.map(() => 0) };
    socket.on("n", (from, target, number) => {
      heard[from][target].push(number);
      const [way, now] = [`${from} ${target}`, performance.now()];
      member.silence[from] = Math.max(member.silence[from], now - (member.last.get(way) ?? now));
      member.last.set(way, now);
    });
    await join(socket, "room");
    return member;
  }

  /** Those that were not killed. */
  alive() {
    return this.places.filter(({ isAlive }) => isAlive);
  }

  /** Those that hear each other after the fault. */
  #recovered() {
    return this.alive().filter(({ recovers }) => recovers);
  }

  #instances() {
    return this.alive().filter(({ isNode }) => !isNode);
  }

  /** An instance is about to be killed. */
  loses(server) {
    this.places.find((at) => at.server === server).isAlive = false;
  }

  async #publish(at) {
    const target = at.turn++ % TARGETS.length;
    const args = [at.place, target, at.sent[target] + 1];
    if (at.isNode) at.server.io.to(TARGETS[target]).emit("n", ...args);
    else await at.server.publish({ rooms: TARGETS[target], event: "n", args });
    at.sent[target]++;
  }

  async #publishes(at) {
    while (!this.#isOver && at.isAlive) {
      await this.#publish(at).catch((error) => {
        if (at.isAlive) throw error;
      });
      await pause(this.pace);
    }
  }

  /** Waits until each that lives has published `count` more. */
  async more(count) {
    const marks = this.places.map(({ turn }) => turn + count);
    await until(`${count} more`, () => this.alive().every(({ place, turn }) => turn >= marks[place]));
  }

  /** Waits until every client hears something new of every server that lives, and recovers. */
  async allHearAll(servers = this.#recovered()) {
    const marks = this.places.map(({ sent }) => [...sent]);
    const last = ({ heard }, { place }) => heard[place].map((numbers) => numbers.at(-1) ?? 0);
    const deaf = () => servers.flatMap(({ members }) => members).filter((member) => {
      return servers.some((from) => last(member, from).some((number, target) => number <= marks[from.place][target]));
    });
    const what = () => {
      const at = deaf().map((member) => `${member.name} at ${this.places.map((from) => last(member, from)).join(" ")}`);
      return `all hear all after ${marks.join(" ")}: not ${at.join(", ")}`;
    };
    await until(what, () => deaf().length === 0);
  }

  /** Waits until the clients of each instance hear something new of the others. */
  instancesHearAll() {
    return this.allHearAll(this.#instances());
  }

  /** How much all have published. */
  published() {
    return sum(this.places.map(({ sent }) => sum(sent)));
  }

  #restartSilences() {
    for (const { members } of this.places) {
      for (const member of members) {
        member.last.clear();
        member.silence.fill(0);
      }
    }
  }

  /** The longest time, in seconds, in which a client heard nothing of another server to one of the targets. */
  #silences() {
    const longest = (isWithNode) => {
      const times = [0];
      for (const to of this.#recovered()) {
        for (const from of this.#recovered()) {
          if (from === to || (from.isNode || to.isNode) !== isWithNode) continue;
          times.push(...to.members.map(({ silence }) => silence[from.place]));
        }
      }
      return (Math.max(...times) / 1000).toFixed(2);
    };
    const withNode = this.#recovered().some(({ isNode }) => isNode) ? { "to or from Node": longest(true) } : {};
    return { "between instances": longest(false), ...withNode };
  }

  /**
   * Ends the storm, compares what was missed with what was counted, and gives the sums. `waited`: the most publications
   * that waited for a Redis that hung, and were on their way all together when it went on. `isLate`: what waited in it
   * reaches a Node server that is still connected to it, after newer ones.
   */
  async accounts({ waited = 0, isLate = false } = {}) {
    await this.allHearAll();
    const silences = this.#silences();
    this.#isOver = true;
    await Promise.all(this.#running);
    await this.#lastOnesArrive();
    for (const at of this.alive()) this.#checkHeard(at, isLate);
    const found = await this.#checkCounters(waited);
    for (const at of this.#instances()) await this.#checkRest(at);
    const published = this.places.map(({ name, sent }) => `${name} published ${sum(sent)}`);
    this.t.diagnostic(`${published.join(", ")}: ${JSON.stringify(found)}`);
    for (const [between, seconds] of Object.entries(silences)) {
      this.t.diagnostic(`the longest silence ${between}: ${seconds} s, in health ${this.#inHealth[between]} s`);
    }
    return found;
  }

  async #lastOnesArrive() {
    const servers = this.#recovered();
    const isAllHeard = () => servers.every(({ members }) => {
      return members.every(({ heard }) => servers.every(({ place, sent }) => {
        return sent.every((number, target) => heard[place][target].includes(number));
      }));
    });
    // A gap is noticed by what comes after it.
    await until("the last ones arrive", async () => {
      for (const _ of TARGETS) await Promise.all(servers.map((at) => this.#publish(at)));
      for (let n = 0; n < 30 && !isAllHeard(); n++) await pause(100);
      return isAllHeard();
    });
  }

  /**
   * The clients of a server hear the same of each, once, and in order; and those of an instance all of their own. The order
   * of a Node server is not that of its publications: its client of Redis sends those that waited after newer ones, or to
   * several nodes of a Cluster.
   */
  #checkHeard({ place, sent, members, isNode }, isLate) {
    for (const { name, heard, socket } of members) {
      assert.ok(socket.connected, name);
      for (const from of this.places) {
        for (const numbers of heard[from.place]) {
          const sorted = from.isNode || (isNode && isLate) ? [...numbers].sort((a, b) => a - b) : numbers;
          const wrong = sorted.findIndex((n, index) => index > 0 && n <= sorted[index - 1]);
          const around = sorted.slice(Math.max(wrong - 3, 0), wrong + 3);
          assert.equal(wrong, -1, `${name}: once and in order of ${from.name}: ${around}`);
        }
        const same = members[0].heard[from.place];
        assert.deepEqual(heard[from.place], same, `${name}: the clients of a server hear the same of ${from.name}`);
      }
      if (!isNode) assert.deepEqual(lengths(heard[place]), sent, `${name}: all of its own server`);
    }
  }

  /**
   * What the members of each instance missed of the others is what it counted as gaps and they as unsent. Only what was on
   * its way when a connection broke cannot be told apart: nobody knows whether Redis has taken it, so it is unsent, and it
   * arrived all the same, or the next one shows it as a gap too.
   */
  async #checkCounters(waited) {
    const found = { missed: 0, gaps: 0, unsent: 0, repeats: 0, dropped: 0 };
    const counters = new Map();
    for (const at of this.#instances()) {
      const counted = {};
      for (const name of ["gaps", "unsent", "repeats", "dropped"]) {
        counted[name] = await at.server.metric(`rookery_redis_${name}_total`);
        found[name] += counted[name];
      }
      counters.set(at, counted);
    }
    for (const to of this.alive()) {
      const others = this.#instances().filter((from) => from !== to);
      const missed = sum(others.map((from) => missing(to, from)));
      const unsent = sum(others.map((from) => counters.get(from).unsent));
      const what = `${to.name} missed ${missed}, of which the others did not send ${unsent}, ${JSON.stringify(counters.get(to))}`;
      const underWay = UNDER_WAY * others.length + waited;
      if (to.isNode) {
        // Node does not look at the numbers: what was lost between Redis and it is known to nobody.
        found.missedByNode = missed;
        assert.ok(unsent <= missed + underWay, what);
        continue;
      }
      const { gaps } = counters.get(to);
      found.missed += missed;
      assert.ok(gaps <= missed && missed <= gaps + unsent && gaps + unsent <= missed + underWay, what);
      for (const from of this.alive().filter(({ isNode }) => isNode)) {
        found.missedOfNode = (found.missedOfNode ?? 0) + missing(to, from);
      }
    }
    assert.equal(found.dropped, 0);
    return found;
  }

  /** Each delivery has ended, in what a client heard; and memory is back where it was. */
  async #checkRest(at) {
    const { name, server, members, memory: before } = at;
    const heard = sum(members.flatMap((member) => member.heard.flatMap(lengths)));
    let ledger;
    await until(() => `the ledger of ${name} is what its clients heard: ${ledger}, ${heard}`, async () => {
      const series = [["recipients", {}], ["deliveries", {}], ["deliveries", { outcome: "written" }]];
      ledger = await Promise.all(series.map(([of, labels]) => server.metric(`rookery_${of}_total`, labels)));
      return ledger.every((count) => count === heard);
    });
    let now;
    await until(() => `memory of ${name} is back: ${before} before, ${now} after`, async () => {
      now = await memory(at);
      return now < before + MEMORY;
    });
  }
}

const sum = (numbers) => numbers.reduce((all, number) => all + number, 0);

const lengths = (lists) => lists.map(({ length }) => length);

/** What a server published that the clients of another one did not hear: all of them hear the same. */
const missing = (to, { place, sent }) => sum(sent) - sum(lengths(to.members[0].heard[place]));

const memory = ({ server }) => server.metric("process_resident_memory_bytes");
