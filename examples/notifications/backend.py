"""The backend of notifications: a queue, a worker that publishes from it, and what nobody has read."""
import base64, hashlib, hmac, json, mimetypes, os, redis, threading, time, urllib.request, uuid  # noqa: E401
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("jwt.secret", "hook.key", "api.keys")
JWT_SECRET, HOOK_KEY, API_KEYS = ((HERE / "../keys" / name).read_bytes().rstrip() for name in FILES)
API = os.environ.get("ROOKERY_API", "http://127.0.0.1:9090")
CLIENT = HERE / "../node_modules/socket.io-client/dist/socket.io.min.js"
PAGES = {"/": HERE / "index.html", "/style.css": HERE / "../style.css", "/socket.io.js": CLIENT}
store = redis.from_url(os.environ.get("REDIS", "redis://127.0.0.1:6390"), decode_responses=True, socket_timeout=None)


def token(user):
    """A token for a user, valid for an hour."""
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")  # noqa: E731
    signed = part(b'{"alg":"HS256"}') + b"." + part(json.dumps({"sub": user, "exp": int(time.time()) + 3600}).encode())
    return (signed + b"." + part(hmac.digest(JWT_SECRET, signed, "sha256"))).decode()


def is_signed(header, body):
    """Whether a request is Rookery's, and at most five minutes old."""
    parts = dict(part.partition("=")[::2] for part in (header or "").split(","))
    expected = hmac.new(HOOK_KEY, parts.get("t", "").encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts.get("v1", "")) and abs(time.time() - int(parts["t"])) < 300


def handled(hook):
    """A client that connects joins its own room; then it asks for what it has not read, and says what it has read."""
    user = hook["user"]
    if hook["type"] == "connect":
        return {"join": [f"user:{user}"]}
    if hook["event"] == "read":
        return {"ack": [store.hdel(f"unread:{user}", str(hook["args"][0]))]}
    return {"ack": [[json.loads(text) for text in store.hvals(f"unread:{user}")]]}


def work():
    """Publishes from the queue, again and again until Rookery has accepted it; the id makes that one delivery."""
    headers = {"content-type": "application/json", "authorization": "Bearer " + API_KEYS.decode().split(":")[1]}
    while True:
        try:
            notice = json.loads(text := store.lindex("sending", 0) or store.blmove("notifications", "sending", 0))
            store.hset(f"unread:{notice['user']}", notice["id"], text)
            body = {"id": notice["id"], "room": f"user:{notice['user']}", "event": "notification", "args": [notice]}
            urllib.request.urlopen(urllib.request.Request(f"{API}/api/publish", json.dumps(body).encode(), headers))
            store.lrem("sending", 1, text)
        except (OSError, redis.RedisError):
            time.sleep(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        file = PAGES.get(self.path.split("?")[0])
        self.answer(200, file.read_bytes(), file.suffix) if file else self.answer(404, {"error": "no such page"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/login":
            return self.answer(200, {"token": token(json.loads(body)["user"])})
        if self.path == "/notify":
            notice = {**json.loads(body), "id": str(uuid.uuid4()), "at": time.time()}
            return self.answer(202, {"queued": store.rpush("notifications", json.dumps(notice)), "id": notice["id"]})
        signed = is_signed(self.headers["rookery-signature"], body)
        self.answer(200, handled(json.loads(body))) if signed else self.answer(401, {"error": "not signed by Rookery"})

    def answer(self, status, body, suffix=".json"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for header in (("content-type", mimetypes.types_map[suffix]), ("content-length", str(len(body)))):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)


threading.Thread(target=work, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 4000))), Handler).serve_forever()
