// Members of a number of rooms, over WebSocket. They discard what they receive. Prints one line when
// all have joined.
//
//   node members.mjs --url http://127.0.0.1:3000 --rooms 100 [--members 1] [--room flood]

import { connect } from "node:net";
import { parseArgs } from "node:util";

import { roomName } from "./flood/messages.mjs";
import { frame, handshake } from "./websocket.mjs";

const READ_MS = 20;
// The most bytes of one read, for all members together; at least 64 KiB each.
const READ_BYTES = 4 << 20;
// The most members that are connecting at once.
const JOINING = 50;

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    rooms: { type: "string" },
    members: { type: "string", default: "1" },
    room: { type: "string" },
  },
});
const url = new URL(values.url);
const [rooms, perRoom] = [Number(values.rooms), Number(values.members)];
const members = [];
// Reading stops after each read and resumes every READ_MS, so that a flood of small frames costs
// few reads.
setInterval(() => members.forEach((member) => member.resume()), READ_MS);

let next = 0;
async function joinAll() {
  while (next < rooms * perRoom) await join(roomName(next++ % rooms, values.room));
}
await Promise.all(Array.from({ length: JOINING }, joinAll));
console.log("joined");

// Connects, joins the room once the server has confirmed the namespace, and waits for the answer.
function join(room) {
  return new Promise((resolve) => {
    let answer = "";
    let asked = false;
    const callback = (length, buffer) => {
      if (answer === undefined) return false;
      answer += buffer.toString("latin1", 0, length);
      if (!asked && answer.includes('40{"sid"')) {
        asked = true;
        socket.write(frame(`420${JSON.stringify(["join", { room }])}`));
      } else if (asked && answer.includes("430[")) {
        answer = undefined;
        resolve();
      }
      return false;
    };
    const onread = { buffer: Buffer.alloc(Math.max(65_536, READ_BYTES / (rooms * perRoom))), callback };
    const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true, onread });
    socket.write(handshake(url));
    socket.write(frame("40"));
    socket.on("error", fail).on("close", () => fail(new Error(`a member of ${room} was disconnected`)));
    members.push(socket);
  });
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}
