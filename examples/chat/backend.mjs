// The backend of a chat: it signs users in, and keeps what was said.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const file = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const JWT_SECRET = file("../keys/jwt.secret").trimEnd();
const HOOK_KEY = file("../keys/hook.key").trimEnd();
const PAGES = {
  "/": ["text/html; charset=utf-8", file("index.html")],
  "/style.css": ["text/css", file("../style.css")],
  "/socket.io.js": ["text/javascript", file("../node_modules/socket.io-client/dist/socket.io.min.js")],
};
const history = new Map(); // room → its last messages

/** A token for a user, valid for an hour. */
function token(name) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: name.toLowerCase(), name, exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
}

/** Whether a request is Rookery's, and at most five minutes old. */
function isSigned(header, body) {
  const { t, v1 } = Object.fromEntries((header ?? "").split(",").map((part) => part.split("=")));
  const expected = createHmac("sha256", HOOK_KEY).update(`${t}.${body}`).digest();
  const given = Buffer.from(v1 ?? "", "hex");
  return given.length === expected.length && timingSafeEqual(given, expected) && Math.abs(Date.now() / 1000 - t) < 300;
}

/** What an event does. */
function handled({ event, args, claims }) {
  const { room, text } = args[0] ?? {};
  if (typeof room !== "string") return { ack: [{ error: "a room is missing" }] };
  const said = history.get(room) ?? [];
  if (event === "history") return { ack: [said] };
  const message = { name: claims.name, text: String(text).slice(0, 1000), at: Date.now() / 1000 };
  history.set(room, [...said, message].slice(-50));
  return { publish: [{ room: `chat:${room}`, event: "message", args: [message] }], ack: [{ ok: true }] };
}

createServer(async (request, response) => {
  const send = (status, type, body) => response.writeHead(status, { "content-type": type }).end(body);
  const json = (status, value) => send(status, "application/json", JSON.stringify(value));
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const { pathname } = new URL(request.url, "http://localhost");
  if (PAGES[pathname]) return send(200, ...PAGES[pathname]);
  if (pathname === "/login") return json(200, { token: token(JSON.parse(body).name) });
  if (pathname !== "/hook") return json(404, { error: "no such page" });
  if (!isSigned(request.headers["rookery-signature"], body)) return json(401, { error: "not signed by Rookery" });
  json(200, handled(JSON.parse(body)));
}).listen(Number(process.env.PORT ?? 4000), "127.0.0.1");
