// One member in each of a number of rooms, over WebSocket. Members discard what they receive.
//
//   node members.mjs --url http://127.0.0.1:3000 --rooms 100

import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { parseArgs } from "node:util";

import { roomName } from "./messages.mjs";

const READ_MS = 20;

const { values } = parseArgs({ options: { url: { type: "string" }, rooms: { type: "string" } } });
const { hostname, port } = new URL(values.url);
const members = Array.from({ length: Number(values.rooms) }, (_, i) => join(roomName(i)));
// Reading stops after each read and resumes every READ_MS, so that a flood of small frames costs
// few reads.
setInterval(() => members.forEach((member) => member.resume()), READ_MS);

// Connects, and joins the room once the server has confirmed the namespace.
function join(room) {
  let answer = "";
  const callback = (length, buffer) => {
    if (answer === undefined) return false;
    answer += buffer.toString("latin1", 0, length);
    if (answer.includes('40{"sid"')) {
      answer = undefined;
      socket.write(frame(`42${JSON.stringify(["join", { room }])}`));
    }
    return false;
  };
  const onread = { buffer: Buffer.alloc(65_536), callback };
  const socket = connect({ host: hostname, port: Number(port), noDelay: true, onread });
  socket.write(
    [
      "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
      `Host: ${hostname}:${port}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
      "\r\n",
    ].join("\r\n"),
  );
  socket.write(frame("40"));
  socket.on("error", fail).on("close", () => fail(new Error(`the member of ${room} was disconnected`)));
  return socket;
}

// A text frame of less than 126 bytes, masked with zeros.
function frame(text) {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}
