// A stock client that asks once for each of many namespaces is told of each, and its session stays,
// as with Node's server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Instance, KINDS, atEnd, collect, join, until } from "./harness.mjs";

const FAST = { reconnectionDelay: 10, reconnectionDelayMax: 20 };

/** Sockets of one connection, one for each namespace. */
function sockets(t, { io, transports }, url, namespaces) {
  const manager = new io.Manager(url, { transports, autoConnect: false, ...FAST });
  const made = namespaces.map((namespace) => manager.socket(namespace));
  atEnd(t, () => {
    made.forEach((socket) => socket.close());
    manager.engine?.close();
  });
  made.forEach((socket) => socket.connect());
  return made;
}

/** Refusals of a socket, as they arrive. */
function refusals(socket, { version }) {
  return collect(socket, version === 2 ? "error" : "connect_error");
}

async function refusedSessions({ internal }) {
  const text = await (await fetch(`${internal}/metrics`)).text();
  return Number(text.match(/rookery_disconnects_total\{reason="refused"\} (\d+)/)[1]);
}

for (const which of KINDS.filter(({ version }) => version > 2)) {
  test(`${which.name}: a client whose token is refused in many namespaces learns it of each once`, async (t) => {
    const namespaces = Array.from({ length: 8 }, (_, n) => `/n${n}`);
    const instance = await Instance.start(t, { namespaces, auth: { anonymous: false } });
    const made = sockets(t, which, instance.url, namespaces);
    const errors = made.map((socket) => refusals(socket, which));
    await until("all are refused", () => errors.every((of) => of.length > 0));
    assert.deepEqual(errors.map((of) => of.length), namespaces.map(() => 1));
    assert.deepEqual(errors.map(([[error]]) => error.data.code), namespaces.map(() => "unauthenticated"));
    assert.equal(await refusedSessions(instance), 0, "no session was closed");
  });
}

for (const which of KINDS) {
  test(`${which.name}: a client that asks for many unknown namespaces gets the one that is offered`, async (t) => {
    const unknown = Array.from({ length: 8 }, (_, n) => `/unknown${n}`);
    const instance = await Instance.start(t, { namespaces: ["/"] });
    const made = sockets(t, which, instance.url, [...unknown, "/"]);
    const errors = made.map((socket) => refusals(socket, which));
    await until("all others are refused", () => errors.slice(0, -1).every((of) => of.length > 0));
    const socket = made.at(-1);
    await until("it is connected", () => socket.connected);
    await join(socket, "r");
    assert.deepEqual(errors.map((of) => of.length), [...unknown.map(() => 1), 0]);
    assert.equal(await refusedSessions(instance), 0, "no session was closed");
  });
}
