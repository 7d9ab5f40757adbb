"""A python-socketio RedisManager that only writes, led by lines of JSON on stdin.

    python_emitter.py URL CHANNEL

Each line is {"call": method, "args": [...], "kwargs": {...}}; binary is {"$bytes": base64}, and data in a
list is a tuple of arguments. It writes a line when a call is done, and ends when its stdin does.
"""

import base64
import json
import sys

import socketio


def unpacked(value):
    if set(value) == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    if set(value) == {"$tuple"}:
        return tuple(value["$tuple"])
    return value


def main(url, channel):
    manager = socketio.RedisManager(url, channel=channel, write_only=True)
    for line in sys.stdin:
        order = json.loads(line, object_hook=unpacked)
        getattr(manager, order["call"])(*order["args"], **order["kwargs"])
        print("done", flush=True)


main(*sys.argv[1:])
