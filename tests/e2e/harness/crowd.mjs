// Clients with users, in rooms with presence, and what each of them knows of who is there.
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { connecting, podOf } from "./clients.mjs";
import { pause, until } from "./until.mjs";

/** How long an acknowledgement may take, in milliseconds. */
const PATIENCE = 10_000;

/** Milliseconds between two changes of the restless. */
const CHANGE = 100;

/** One client of a user. It is in its rooms again after each reconnect. */
class Occupant {
  /** The rooms that it is to be in. */
  rooms = new Set();
  /** Who it knows to be in each room that it is in: the name of each user. */
  views = new Map();
  /** What it was told, in order: {type, room, user}. */
  told = [];
  /** What did not fit what it was told before. */
  wrong = [];
  disconnects = 0;
  #isSettling = false;

  constructor(crowd, user, transports) {
    this.user = user;
    this.socket = connecting(crowd.ingress, crowd.host, transports, {
      auth: { token: crowd.token(user) },
      reconnectionDelay: 200,
      reconnectionDelayMax: 1_000,
    });
    this.socket.on("connect", () => this.#settle());
    this.socket.on("disconnect", () => {
      this.disconnects += 1;
      this.views.clear();
    });
    this.socket.on("presence:join", (event) => this.#heard("join", event));
    this.socket.on("presence:leave", (event) => this.#heard("leave", event));
  }

  /** The first 8 characters of its id: the pod that holds it. */
  get pod() {
    return podOf(this.socket);
  }

  /** Whether it is in its rooms, and in no others. */
  get isSettled() {
    return this.socket.connected && this.views.size === this.rooms.size && [...this.rooms].every((room) => this.views.has(room));
  }

  /** Changes the rooms that it is to be in. */
  enter(...rooms) {
    rooms.forEach((room) => this.rooms.add(room));
    this.#settle();
  }

  leave(room) {
    this.rooms.delete(room);
    this.#settle();
  }

  /** Joins and leaves until it is where it is to be, one after the other. */
  async #settle() {
    if (this.#isSettling) return;
    this.#isSettling = true;
    while (this.socket.connected && !this.isSettled) {
      const missing = [...this.rooms].find((room) => !this.views.has(room));
      const surplus = [...this.views.keys()].find((room) => !this.rooms.has(room));
      await (missing === undefined ? this.#ask("leave", surplus) : this.#ask("join", missing));
    }
    this.#isSettling = false;
  }

  /** Resolves when it is answered, or when the answer cannot come any more. */
  #ask(event, room) {
    return new Promise((resolve) => {
      this.socket.timeout(PATIENCE).emit(event, { room }, (error, answer) => {
        // An event right behind the answer is handled before a promise would be.
        if (!error) this.#answered(event, room, answer);
        resolve();
      });
    });
  }

  #answered(event, room, { status, presence, ...more }) {
    if (status !== "SUCCESS") this.wrong.push(`${event} of ${room}: ${JSON.stringify(more)}`);
    else if (event === "leave") this.views.delete(room);
    else this.views.set(room, new Map(presence.members.map(({ user, info }) => [user, info.name])));
  }

  #heard(type, { room, user, info }) {
    this.told.push({ type, room, user });
    const view = this.views.get(room);
    const isNew = view !== undefined && view.has(user) === (type === "leave") && user !== this.user;
    if (!isNew) this.wrong.push(`${type} of ${user} in ${room}, where it knew ${[...(view?.keys() ?? ["nothing"])].join(" ")}`);
    if (type === "join") view?.set(user, info.name);
    else view?.delete(user);
  }
}

export class Crowd {
  /** The secret of its tokens, HS256. */
  secret = randomBytes(32).toString("base64url");
  members = [];
  #gone = [];

  /** A crowd that comes through the ingress to a host. */
  static of(s, release, crowd) {
    Object.assign(crowd, { ingress: release.ingress, host: release.host });
    s.atEnd(async () => crowd.close());
    return crowd;
  }

  /** The token of a user. */
  token(user) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.floor(Date.now() / 1000) + 3600;
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, name: nameOf(user), exp })}`;
    return `${signed}.${createHmac("sha256", this.secret).update(signed).digest("base64url")}`;
  }

  /** A client of a user, in these rooms. */
  add(user, transports, ...rooms) {
    const member = new Occupant(this, user, transports);
    member.enter(...rooms);
    this.members.push(member);
    return member;
  }

  /** These go when their pod does, and do not come back. */
  letGo(members) {
    for (const { socket } of members) socket.io.reconnection(false);
    this.members = this.members.filter((member) => !members.includes(member));
    this.#gone.push(...members);
  }

  /** Who must be in each room that somebody is in: sorted users. */
  truth() {
    const users = new Map();
    for (const { user, rooms } of this.members) {
      for (const room of rooms) users.set(room, (users.get(room) ?? new Set()).add(user));
    }
    return sorted(users);
  }

  /** Waits until all are where they are to be. */
  async settled() {
    const missing = () => this.members.filter((member) => !member.isSettled);
    await until(() => `all are in their rooms, but for ${missing().map(({ user }) => user).join(" ")}`, () => missing().length === 0);
  }

  /** What somebody knows that is not so. */
  mistakes() {
    const truth = this.truth();
    const found = [];
    for (const { user, views } of this.members) {
      for (const [room, view] of views) {
        const known = [...view.keys()].sort();
        if (String(known) !== String(truth.get(room))) found.push(`${user} knows of ${room}: ${known.join(" ")}`);
        for (const [of, name] of view) if (name !== nameOf(of)) found.push(`${user} knows ${of} as ${name}`);
      }
    }
    return found;
  }

  /** Fails where somebody was told what did not fit. */
  isConsistent() {
    const all = [...this.members, ...this.#gone];
    assert.deepEqual(all.flatMap(({ user, wrong }) => wrong.map((what) => `${user}: ${what}`)), []);
  }

  /** What the members were told of these users since this was last asked. */
  takeToldOf(users) {
    return this.members.flatMap(({ told }) => told.splice(0)).filter(({ user }) => users.includes(user));
  }

  /** Disconnects all. */
  close() {
    this.#gone.push(...this.members);
    this.members = [];
    for (const { socket } of this.#gone) socket.close();
  }
}

/** Members that enter and leave rooms at random, until `stop`. */
export class Restless {
  changes = 0;
  #on = true;

  constructor(members, rooms) {
    this.running = this.#run(members, rooms);
  }

  async #run(members, rooms) {
    const one = (list) => list[Math.floor(Math.random() * list.length)];
    while (this.#on) {
      const [member, room] = [one(members), one(rooms)];
      if (member.rooms.has(room)) member.leave(room);
      else member.enter(room);
      this.changes += 1;
      await pause(CHANGE);
    }
  }

  stop() {
    this.#on = false;
    return this.running;
  }
}

/** The same users, sorted, by sorted rooms. */
export function sorted(rooms) {
  return new Map([...rooms].map(([room, users]) => [room, [...users].sort()]).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function nameOf(user) {
  return user.toUpperCase();
}
