// A storm: servers that publish to one room all the time, and stock clients of each that count what they hear of each.
// It is the frame of the tests of faults: nothing comes twice, each publisher's order is kept, and what clients miss is
// what the instances of Rookery count.
import assert from "node:assert/strict";
import { Instance, atEnd, connected, join, kind, pause, until } from "./harness.mjs";

const ROOM = "room";
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
      return { place, server, isNode, name, members: [], sent: 0, isAlive: true, recovers: server.recovers ?? true };
    });
    for (const at of storm.places) {
      for (const which of CLIENTS) at.members.push(await storm.#member(at, which));
    }
    await until("all know each other", async () => {
      const answers = await Promise.all(storm.#instances().map(({ server }) => server.api("GET", `/api/rooms/${ROOM}`)));
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
    const ofEach = (value) => this.places.map(value);
    const member = { name: `${which.name} of ${name}`, socket, heard: ofEach(() => []), last: [], silence: ofEach(() => 0) };
    socket.on("n", (from, number) => {
      member.heard[from].push(number);
      const now = performance.now();
      member.silence[from] = Math.max(member.silence[from], now - (member.last[from] ?? now));
      member.last[from] = now;
    });
    await join(socket, ROOM);
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
    const args = [at.place, at.sent + 1];
    if (at.isNode) at.server.io.to(ROOM).emit("n", ...args);
    else await at.server.publish({ room: ROOM, event: "n", args });
    at.sent++;
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
    const marks = this.places.map(({ sent }) => sent + count);
    await until(`${count} more`, () => this.alive().every(({ place, sent }) => sent >= marks[place]));
  }

  /** Waits until every client hears something new of every server that lives, and recovers. */
  async allHearAll(servers = this.#recovered()) {
    const marks = this.places.map(({ sent }) => sent);
    const deaf = () => servers.flatMap(({ members }) => members).filter(({ heard }) => {
      return servers.some(({ place }) => (heard[place].at(-1) ?? 0) <= marks[place]);
    });
    const what = () => {
      const at = deaf().map(({ name, heard }) => `${name} at ${heard.map((numbers) => numbers.at(-1))}`);
      return `all hear all after ${marks}: not ${at.join(", ")}`;
    };
    await until(what, () => deaf().length === 0);
  }

  #restartSilences() {
    for (const { members } of this.places) {
      for (const member of members) {
        member.last = [];
        member.silence.fill(0);
      }
    }
  }

  /** The longest time, in seconds, in which a client heard nothing of another server: between instances, and with Node. */
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
    return { instances: longest(false), node: longest(true) };
  }

  /** Ends the storm, compares what was missed with what was counted, and gives the sums. */
  async accounts() {
    await this.allHearAll();
    const silences = this.#silences();
    this.#isOver = true;
    await Promise.all(this.#running);
    await this.#lastOnesArrive();
    for (const at of this.alive()) this.#checkHeard(at);
    const found = await this.#checkCounters();
    for (const at of this.#instances()) await this.#checkRest(at);
    this.t.diagnostic(`${this.places.map(({ name, sent }) => `${name} sent ${sent}`).join(", ")}: ${JSON.stringify(found)}`);
    const of = (which) => `${silences[which]} s (${this.#inHealth[which]} s before)`;
    this.t.diagnostic(`the longest silence between instances: ${of("instances")}; to or from Node: ${of("node")}`);
    return found;
  }

  async #lastOnesArrive() {
    const servers = this.#recovered();
    const isAllHeard = () => servers.every(({ members }) => {
      return members.every(({ heard }) => servers.every(({ place, sent }) => heard[place].includes(sent)));
    });
    // A gap is noticed by what comes after it.
    await until("the last ones arrive", async () => {
      await Promise.all(servers.map((at) => this.#publish(at)));
      for (let n = 0; n < 30 && !isAllHeard(); n++) await pause(100);
      return isAllHeard();
    });
  }

  /**
   * The clients of a server hear the same of each, once, and in order; and those of an instance all of their own. The order
   * of a Node server is not that of its publications: its client of Redis sends those that waited after newer ones, or to
   * several nodes of a Cluster.
   */
  #checkHeard({ place, sent, members, isNode }) {
    for (const { name, heard, socket } of members) {
      assert.ok(socket.connected, name);
      for (const [from, numbers] of heard.entries()) {
        const sorted = this.places[from].isNode ? [...numbers].sort((a, b) => a - b) : numbers;
        const wrong = sorted.findIndex((n, index) => index > 0 && n <= sorted[index - 1]);
        const around = sorted.slice(Math.max(wrong - 3, 0), wrong + 3);
        assert.equal(wrong, -1, `${name}: once and in order of ${this.places[from].name}: ${around}`);
        assert.deepEqual(numbers, members[0].heard[from], `${name}: the clients of a server hear the same of ${from}`);
      }
      if (!isNode) assert.equal(heard[place].length, sent, `${name}: all of its own server`);
    }
  }

  /**
   * What the members of each instance missed of the others is what it counted as gaps and they as unsent. Only what was on
   * its way when a connection broke cannot be told apart: nobody knows whether Redis has taken it, so it is unsent, and it
   * arrived all the same, or the next one shows it as a gap too.
   */
  async #checkCounters() {
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
      const missed = others.reduce((sum, { place, sent }) => sum + sent - to.members[0].heard[place].length, 0);
      const unsent = others.reduce((sum, from) => sum + counters.get(from).unsent, 0);
      const what = `${to.name} missed ${missed}, of which the others did not send ${unsent}, ${JSON.stringify(counters.get(to))}`;
      const underWay = UNDER_WAY * others.length;
      if (to.isNode) {
        // Node does not look at the numbers: what was lost between Redis and it is known to nobody.
        found.missedByNode = missed;
        assert.ok(unsent <= missed + underWay, what);
        continue;
      }
      const { gaps } = counters.get(to);
      found.missed += missed;
      assert.ok(gaps <= missed && missed <= gaps + unsent && gaps + unsent <= missed + underWay, what);
      for (const { place, sent } of this.alive().filter(({ isNode }) => isNode)) {
        found.missedOfNode = (found.missedOfNode ?? 0) + sent - to.members[0].heard[place].length;
      }
    }
    assert.equal(found.dropped, 0);
    return found;
  }

  /** Each delivery has ended, in what a client heard; and memory is back where it was. */
  async #checkRest(at) {
    const { name, server, members, memory: before } = at;
    const heard = members.flatMap((member) => member.heard).reduce((sum, numbers) => sum + numbers.length, 0);
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

const memory = ({ server }) => server.metric("process_resident_memory_bytes");
