// Clients that are in many rooms each, over WebSocket, in this process. They count what is published to them.

import { connect } from "node:net";

import { frame, handshake } from "./websocket.mjs";

const ANSWERS = /43\d+\[/g;
// How the text of a publication begins.
const EVENT = Buffer.from('42["b"');
// The most joins of a client that wait for their answers.
const JOINING = 100;

/** Connects the clients. `join(n)` has them join so many rooms in all, and `heard` counts publications. */
export async function openRooms(server, { clients: count }) {
  const members = { rooms: [], heard: 0, stop: () => clients.forEach(({ socket }) => socket.destroy()) };
  const clients = Array.from({ length: count }, () => open(server.url, members));
  for (const client of clients) await client.ask(["40"], /40\{"sid"/g);
  members.join = async (rooms) => {
    members.rooms = Array.from({ length: rooms }, (_, n) => `room-${n}`);
    const share = Math.ceil(rooms / count);
    await Promise.all(clients.map((client, n) => joinAll(client, members.rooms.slice(n * share, (n + 1) * share))));
  };
  return members;
}

async function joinAll(client, rooms) {
  for (let from = 0; from < rooms.length; from += JOINING) {
    const packets = rooms.slice(from, from + JOINING).map((room, id) => `42${id}${JSON.stringify(["join", { room }])}`);
    await client.ask(packets, ANSWERS);
  }
}

function open(url, members) {
  const { host, hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  let waiting;
  // The end of what was read, in which an event may have begun.
  let rest = Buffer.alloc(0);
  socket.on("data", (data) => {
    if (waiting) return waiting.read(data.toString("latin1"));
    const read = Buffer.concat([rest, data]);
    let at = -EVENT.length;
    let end = 0;
    while ((at = read.indexOf(EVENT, at + EVENT.length)) >= 0) {
      members.heard++;
      end = at + EVENT.length;
    }
    rest = read.subarray(Math.max(end, read.length - EVENT.length + 1));
  });
  const fail = (error) => waiting?.reject(error);
  socket.on("error", fail).on("close", () => fail(new Error("the server closed a connection")));
  socket.write(handshake({ host }));
  const ask = async (packets, pattern) => {
    let text = "";
    await new Promise((resolve, reject) => {
      const read = (more) => {
        text += more;
        if (text.includes('"ERROR"')) reject(new Error(text));
        if ((text.match(pattern)?.length ?? 0) >= packets.length) resolve();
      };
      waiting = { read, reject };
      socket.write(Buffer.concat(packets.map(frame)));
    });
    waiting = undefined;
  };
  return { socket, ask };
}
