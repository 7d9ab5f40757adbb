"""The backend of a board: it keeps what was drawn."""
import hashlib
import hmac
import json
import mimetypes
import os
import time
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
HOOK_KEY = (HERE / "../keys/hook.key").read_bytes().rstrip()
CLIENT = HERE / "../node_modules/socket.io-client/dist/socket.io.min.js"
PAGES = {"/": HERE / "index.html", "/style.css": HERE / "../style.css", "/socket.io.js": CLIENT}
boards = defaultdict(lambda: deque(maxlen=500))  # board → its lines


def is_signed(header, body):
    """Whether a request is Rookery's, and at most five minutes old."""
    parts = dict(part.partition("=")[::2] for part in (header or "").split(","))
    expected = hmac.new(HOOK_KEY, parts.get("t", "").encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts.get("v1", "")) and abs(time.time() - int(parts["t"])) < 300


def handled(hook):
    """What an event does."""
    asked = hook["args"][0] if hook["args"] else {}
    board = asked.get("board")
    if not isinstance(board, str):
        return {"ack": [{"error": "a board is missing"}]}
    if hook["event"] == "lines":
        return {"ack": [list(boards[board])]}
    line = asked.get("line") or {}
    points = line.get("points")
    if not isinstance(points, list) or len(points) > 1000:
        return {"ack": [{"error": "a line is up to 1,000 points"}]}
    boards[board].append(line)
    return {"publish": [{"room": f"board:{board}", "event": "line", "args": [line]}], "ack": [{"ok": True}]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        file = PAGES.get(self.path.split("?")[0])
        self.answer(200, file.read_bytes(), file.suffix) if file else self.answer(404, {"error": "no such page"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_signed(self.headers["rookery-signature"], body):
            return self.answer(401, {"error": "not signed by Rookery"})
        self.answer(200, handled(json.loads(body)))

    def answer(self, status, body, suffix=".json"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", mimetypes.types_map[suffix])
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 4000))), Handler).serve_forever()
