// The backend of a board: it keeps what was drawn.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const file = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const HOOK_KEY = file("../keys/hook.key").trimEnd();
const PAGES = {
  "/": ["text/html; charset=utf-8", file("index.html")],
  "/style.css": ["text/css", file("../style.css")],
  "/socket.io.js": ["text/javascript", file("../node_modules/socket.io-client/dist/socket.io.min.js")],
};
const boards = new Map(); // board → its lines

/** Whether a request is Rookery's, and at most five minutes old. */
function isSigned(header, body) {
  const { t, v1 } = Object.fromEntries((header ?? "").split(",").map((part) => part.split("=")));
  const expected = createHmac("sha256", HOOK_KEY).update(`${t}.${body}`).digest();
  const given = Buffer.from(v1 ?? "", "hex");
  return given.length === expected.length && timingSafeEqual(given, expected) && Math.abs(Date.now() / 1000 - t) < 300;
}

/** What an event does. */
function handled({ event, args }) {
  const { board, line } = args[0] ?? {};
  if (typeof board !== "string") return { ack: [{ error: "a board is missing" }] };
  const lines = boards.get(board) ?? [];
  if (event === "lines") return { ack: [lines] };
  const points = line?.points;
  if (!Array.isArray(points) || points.length > 1000 || !points.flat().every(Number.isFinite)) {
    return { ack: [{ error: "a line is up to 1,000 points" }] };
  }
  boards.set(board, [...lines, line].slice(-500));
  return { publish: [{ room: `board:${board}`, event: "line", args: [line] }], ack: [{ ok: true }] };
}

createServer(async (request, response) => {
  const send = (status, type, body) => response.writeHead(status, { "content-type": type }).end(body);
  const json = (status, value) => send(status, "application/json", JSON.stringify(value));
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const { pathname } = new URL(request.url, "http://localhost");
  if (PAGES[pathname]) return send(200, ...PAGES[pathname]);
  if (pathname !== "/hook") return json(404, { error: "no such page" });
  if (!isSigned(request.headers["rookery-signature"], body)) return json(401, { error: "not signed by Rookery" });
  json(200, handled(JSON.parse(body)));
}).listen(Number(process.env.PORT ?? 4000), "127.0.0.1");
