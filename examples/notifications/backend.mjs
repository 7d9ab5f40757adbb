// The backend of notifications: a queue, a worker that publishes from it, and what nobody has read.
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";
import { createClient } from "redis";

const file = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const [JWT_SECRET, HOOK_KEY] = ["jwt.secret", "hook.key"].map((name) => file(`../keys/${name}`).trimEnd());
const API_KEY = file("../keys/api.keys").trim().split(":")[1];
const { ROOKERY_API: API = "http://127.0.0.1:9090", REDIS: url = "redis://127.0.0.1:6390" } = process.env;
const PAGES = {
  "/": ["text/html; charset=utf-8", file("index.html")],
  "/style.css": ["text/css", file("../style.css")],
  "/socket.io.js": ["text/javascript", file("../node_modules/socket.io-client/dist/socket.io.min.js")],
};
const redis = await createClient({ url }).on("error", console.error).connect();
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();

/** A token for a user, valid for an hour. */
function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + 3600 };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${hmac(JWT_SECRET, signed).toString("base64url")}`;
}

/** Whether a request is Rookery's, and at most five minutes old. */
function isSigned(header, body) {
  const { t, v1 } = Object.fromEntries((header ?? "").split(",").map((part) => part.split("=")));
  const [expected, given] = [hmac(HOOK_KEY, `${t}.${body}`), Buffer.from(v1 ?? "", "hex")];
  return given.length === expected.length && timingSafeEqual(given, expected) && Math.abs(Date.now() / 1000 - t) < 300;
}

/** A client that connects joins its own room; then it asks for what it has not read, and says what it has read. */
async function handled({ type, user, event, args }) {
  if (type === "connect") return { join: [`user:${user}`] };
  if (event === "read") return { ack: [await redis.hDel(`unread:${user}`, String(args[0]))] };
  return { ack: [Object.values(await redis.hGetAll(`unread:${user}`)).map((text) => JSON.parse(text))] };
}

/** Publishes from the queue, again and again until Rookery has accepted it; the id makes that one delivery. */
async function work() {
  const queue = await redis.duplicate().on("error", console.error).connect();
  const headers = { "content-type": "application/json", authorization: `Bearer ${API_KEY}` };
  for (;;) {
    try {
      const next = () => queue.blMove("notifications", "sending", "LEFT", "RIGHT", 0);
      const text = (await queue.lIndex("sending", 0)) ?? (await next());
      const { id, user } = JSON.parse(text);
      await queue.hSet(`unread:${user}`, id, text);
      const body = JSON.stringify({ id, room: `user:${user}`, event: "notification", args: [JSON.parse(text)] });
      const { ok, status } = await fetch(`${API}/api/publish`, { method: "POST", headers, body });
      if (!ok) throw new Error(`status ${status}`);
      await queue.lRem("sending", 1, text);
    } catch (error) {
      console.error(`not published yet: ${error.message}`);
      await setTimeout(1000);
    }
  }
}

createServer(async (request, response) => {
  const send = (status, type, body) => response.writeHead(status, { "content-type": type }).end(body);
  const json = (status, value) => send(status, "application/json", JSON.stringify(value));
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const { pathname } = new URL(request.url, "http://localhost");
  if (PAGES[pathname]) return send(200, ...PAGES[pathname]);
  if (pathname === "/login") return json(200, { token: token(JSON.parse(body).user) });
  const { user, text } = pathname === "/notify" ? JSON.parse(body) : {};
  const notice = { id: randomUUID(), user, text, at: Date.now() / 1000 };
  if (user) return json(202, { queued: await redis.rPush("notifications", JSON.stringify(notice)), id: notice.id });
  if (pathname !== "/hook") return json(404, { error: "no such page" });
  if (!isSigned(request.headers["rookery-signature"], body)) return json(401, { error: "not signed by Rookery" });
  json(200, await handled(JSON.parse(body)));
}).listen(Number(process.env.PORT ?? 4000), "127.0.0.1");
await work();
