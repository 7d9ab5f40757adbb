// The stock JavaScript client, outside the cluster, through the ingress.
import { createRequire } from "node:module";
import { within } from "./until.mjs";

const require = createRequire(new URL("../../clients/package.json", import.meta.url));
const { io } = require("sio4");

export const POLLING = ["polling"];
export const WEBSOCKET = ["websocket"];
export const UPGRADE = ["polling", "websocket"];

/** A client that starts to connect. It keeps the ingress's cookie, like a browser. */
export function connecting(ingress, host, transports, options = {}) {
  return io(ingress.url(host), {
    transports,
    forceNew: true,
    withCredentials: true,
    agent: ingress.agent(),
    ...options,
  });
}

/** A connected client, on a WebSocket if allowed; the first refusal is an error. */
export async function connected(ingress, host, transports, { patience, ...options } = {}) {
  const socket = connecting(ingress, host, transports, options);
  try {
    await within(
      `a client connects by ${transports.join(" then ")}`,
      new Promise((resolve, reject) => {
        socket.once("connect_error", (error) => reject(refusal(error)));
        // Either may come first.
        let missing = transports === UPGRADE ? 2 : 1;
        const one = () => --missing === 0 && resolve();
        socket.once("connect", one);
        if (transports === UPGRADE) socket.io.engine.once("upgrade", one);
      }),
      patience,
    );
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

/** Emits and returns the ack. */
export function ask(socket, event, ...args) {
  return within(`an ack of ${event}`, new Promise((resolve) => socket.emit(event, ...args, resolve)), 15_000);
}

/** Joins a room; fails unless the reply is a success. */
export async function join(socket, room) {
  const answer = await ask(socket, "join", { room });
  if (answer.status !== "SUCCESS") throw new Error(JSON.stringify(answer));
}

/** Collects the arguments of an event in an array that grows. */
export function collect(socket, event) {
  const arrived = [];
  socket.on(event, (...args) => arrived.push(args));
  return arrived;
}

/** The first 8 characters of a member's id: the pod that holds it. */
export function podOf(socket) {
  return socket.id.slice(0, 8);
}

function refusal(error) {
  const details = [error.message, error.description?.message ?? error.description, error.context?.responseText];
  return new Error(`connect_error: ${details.filter((d) => d !== undefined).join(": ")}`);
}
