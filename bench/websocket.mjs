// What the scripts need of WebSocket: the request of the handshake, and a client's frames.

import { randomBytes } from "node:crypto";

/** The HTTP request that opens a Socket.IO session over WebSocket, with more headers. */
export const handshake = ({ host }, headers = {}) =>
  [
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "\r\n",
  ].join("\r\n");

/** A text frame of less than 126 bytes, masked with zeros. */
export function frame(text) {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}

/** A text frame of any length, masked with zeros. */
export function textFrame(text) {
  const payload = Buffer.from(text);
  if (payload.length < 126) return frame(text);
  const head = Buffer.alloc(14);
  head.set([0x81, 0x80 | 127]);
  head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}
