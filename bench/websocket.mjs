// What the scripts need of WebSocket: the request of the handshake, and a client's frames.

import { randomBytes } from "node:crypto";

/** The HTTP request that opens a Socket.IO session over WebSocket. */
export const handshake = ({ host }) =>
  [
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    "\r\n",
  ].join("\r\n");

/** A text frame of less than 126 bytes, masked with zeros. */
export function frame(text) {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}
