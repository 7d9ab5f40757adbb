// What the tests of the admin UI share: the configuration, admins, and what they are shown.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { connecting, directory, kind, until, within } from "./harness.mjs";

/** Kinds of clients. */
export const WEBSOCKET = kind(4, "websocket");
export const POLLING = kind(4, "polling");
export const UPGRADE = kind(4, "polling", "websocket");
export const OLD = kind(2, "websocket");

/** bcrypt hashes of `secret` and `another`, of the lowest cost. */
export const SECRET = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
export const ANOTHER = "$2y$04$ABCDEFGHIJKLMNOPQRSTUuWS5HO0u/gl2nYJ.VTwbzRGBDiMapOKW";

/** What an admin logs in with. */
export const LOGIN = { username: "ada", password: "secret" };

/** A configuration with admins, whose password is `secret`; and the file of its hash. */
export async function withAdmins(t, admin = {}, config = {}) {
  const file = path.join(await directory(t), "admin.hash");
  await writeFile(file, `${SECRET}\n`);
  return { file, namespaces: ["/", "/chat"], ...config, admin: { username: "ada", passwordHashFile: file, ...admin } };
}

/** The configuration of it alone. */
export function configured({ file, ...config }) {
  return config;
}

/** What a page shows, by the events of the protocol. */
export class Shown {
  constructor(socket) {
    this.servers = new Map();
    this.sockets = new Map();
    this.events = [];
    const of = (nsp, id) => this.sockets.get(`${nsp} ${id}`);
    const add = (socket) => {
      if (!of(socket.nsp, socket.id)) this.sockets.set(`${socket.nsp} ${socket.id}`, socket);
    };
    socket.onAny((...args) => this.events.push(args));
    socket.on("session", (session) => (this.session = session));
    socket.on("config", ({ supportedFeatures }) => (this.features = supportedFeatures));
    socket.on("server_stats", (stats) => this.servers.set(stats.serverId, stats));
    socket.on("all_sockets", (all) => {
      this.hasAll = true;
      this.sockets.clear();
      all.forEach(add);
    });
    socket.on("socket_connected", add);
    socket.on("socket_updated", ({ id, nsp, ...rest }) => Object.assign(of(nsp, id) ?? {}, rest));
    socket.on("socket_disconnected", (nsp, id) => this.sockets.delete(`${nsp} ${id}`));
    socket.on("room_joined", (nsp, room, id) => of(nsp, id)?.rooms.push(room));
    socket.on("room_left", (nsp, room, id) => {
      const found = of(nsp, id);
      if (found) found.rooms = found.rooms.filter((other) => other !== room);
    });
  }

  /** The socket of a client. */
  of(client) {
    return [...this.sockets.values()].find(({ id }) => id === client.id);
  }

  /** Arguments of the events with this name. */
  told(name) {
    return this.events.filter(([event]) => event === name).map(([, ...args]) => args);
  }
}

/** An admin that is connecting, and what it is shown. */
export function admin(t, instance, auth = LOGIN, which = WEBSOCKET) {
  const socket = connecting(t, which, `${instance.url}/admin`, { auth });
  return { socket, shown: new Shown(socket) };
}

/** One that is connected. */
export async function loggedIn(t, instance, auth, which) {
  const made = admin(t, instance, auth, which);
  await until("the admin is connected", () => made.socket.connected && made.shown.features);
  return made;
}

/** Why a client may not connect. */
export function refusal(socket) {
  return within("connect_error", new Promise((resolve) => socket.once("connect_error", resolve)));
}

/** Waits until an admin is shown exactly these sockets, each with its transport and rooms. */
export function shows(shown, expected) {
  const wanted = expected.map(({ client, nsp = "/", transport = "websocket", rooms = [] }) =>
    [nsp, client.id, transport, ...[client.id, ...rooms].sort()].join(" "),
  );
  const seen = () =>
    [...shown.sockets.values()].map(({ nsp, id, transport, rooms }) => [nsp, id, transport, ...rooms.slice().sort()].join(" "));
  const text = (list) => list.slice().sort().join("\n");
  return until(
    () => `it is shown:\n${text(seen())}\nnot:\n${text(wanted)}`,
    () => text(seen()) === text(wanted),
  );
}
