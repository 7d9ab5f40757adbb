// An application's backend on this machine, and who it believes is in rooms by what it is told alone.
import assert from "node:assert/strict";
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** Of so many requests, one is taken and answered as if it was not. */
const UNSURE = 5;

/** How old a signature may be, in seconds. */
const FRESH = 300;

export class RoomsBackend {
  /** The key that requests are signed with. */
  key = randomBytes(32).toString("base64");
  /** The users in each room that is occupied. */
  rooms = new Map();
  /** The events in the order in which they came, each once: {type, room, user}. */
  told = [];
  /** What was not possible, or not allowed. */
  wrong = [];
  /** How many events came again. */
  repeated = 0;
  /** The events, in JSON, by their ids. */
  #events = new Map();
  #requests = 0;

  /** A backend at an address of this machine. */
  static async start(s, address) {
    const backend = new RoomsBackend();
    const server = createServer((request, response) => backend.#answer(request, response));
    server.listen(0, address);
    await once(server, "listening");
    s.atEnd(async () => {
      server.close();
      server.closeAllConnections();
    });
    backend.url = `http://${address}:${server.address().port}/rooms`;
    return backend;
  }

  async #answer(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const isSigned = verified(this.key, request.headers["rookery-signature"], body);
    if (!isSigned) this.wrong.push(`not signed: ${body}`);
    const { type, events } = JSON.parse(body);
    if (type === "rooms") events.forEach((event) => this.#hear(event));
    else this.wrong.push(`a request of type ${type}`);
    // Its events must come again, with the same ids.
    response.writeHead(++this.#requests % UNSURE === 0 ? 503 : 200).end();
  }

  #hear({ id, type, room, user, ...more }) {
    const text = JSON.stringify({ type, room, user, ...more });
    const before = this.#events.get(id);
    if (before !== undefined) {
      this.repeated += 1;
      if (before !== text) this.wrong.push(`${id} is both ${before} and ${text}`);
      return;
    }
    this.#events.set(id, text);
    this.told.push({ type, room, user });
    if (!this.#apply(type, room, user)) this.wrong.push(`after ${this.#of(room)}: ${text}`);
  }

  /** Whether it is possible after what was told before. */
  #apply(type, room, user) {
    const users = this.rooms.get(room);
    switch (type) {
      case "room_occupied":
        return users === undefined && this.rooms.set(room, new Set());
      case "room_vacated":
        return users?.size === 0 && this.rooms.delete(room);
      case "member_joined":
        return users !== undefined && !users.has(user) && users.add(user);
      case "member_left":
        return users !== undefined && users.delete(user);
      default:
        return false;
    }
  }

  /** What was told of a room. */
  #of(room) {
    const events = this.told.filter((event) => event.room === room);
    return events.map(({ type, user }) => [type, user].join(" ").trim()).join(", ");
  }

  /** Fails where something was not possible. */
  isConsistent() {
    assert.deepEqual(this.wrong, []);
  }
}

/** Whether a body was signed with a key a moment ago, as docs/backend.md says. */
function verified(key, header, body) {
  const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header ?? "") ?? [];
  if (!t || Math.abs(Date.now() / 1000 - Number(t)) > FRESH) return false;
  const expected = createHmac("sha256", key).update(`${t}.`).update(body).digest();
  return timingSafeEqual(expected, Buffer.from(v1, "hex"));
}
