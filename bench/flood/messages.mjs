// The Redis messages of the flood, as Node's Socket.IO adapter publishes them.

/** The room of the member with this number. */
export const roomName = (number, room = "flood") => `${room}-${number}`;

/** The channel that messages for a room are published to. */
export const channel = (room) => `socket.io#/#${room}#`;

// `[uid, {type, data, nsp}, {rooms, except, flags}]` in MessagePack.
function message(room) {
  const text = (value) => Buffer.concat([Buffer.from([0xa0 | value.length]), Buffer.from(value)]);
  const array = (...items) => Buffer.concat([Buffer.from([0x90 | items.length]), ...items]);
  const map = (entries) => {
    const parts = Object.entries(entries).flatMap(([key, value]) => [text(key), value]);
    return Buffer.concat([Buffer.from([0x80 | (parts.length / 2)]), ...parts]);
  };
  return array(
    text("flooder"),
    map({ type: Buffer.from([2]), data: array(text("e"), map({})), nsp: text("/") }),
    map({ rooms: array(text(room)), except: array(), flags: map({}) }),
  );
}

/** A PUBLISH command in RESP: one message for one room. */
export function publish(room) {
  const arguments_ = ["PUBLISH", channel(room), message(room)].map((part) => Buffer.from(part));
  const bulk = (part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from("\r\n")];
  return Buffer.concat([Buffer.from(`*${arguments_.length}\r\n`), ...arguments_.flatMap(bulk)]);
}
