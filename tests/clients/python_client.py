"""A python-socketio client that is led by lines of JSON: commands on stdin, what happens on stdout.

    python_client.py URL TRANSPORTS

Commands: {"emit": name, "args": [...], "ack": number or null}. Reports: {"connected": true},
{"event": name, "args": [...]}, {"ack": number, "args": [...]}, {"disconnected": reason}.
Binary is {"$bytes": base64} in both. It ends when its stdin does.
"""

import asyncio
import base64
import json
import sys

import socketio


def packed(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"unexpected: {value!r}")


def unpacked(value):
    if set(value) == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return value


def report(**what):
    print(json.dumps(what, default=packed), flush=True)


def several(args):
    """What emit() takes for these arguments."""
    return tuple(args) if args else None


async def commands():
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        yield json.loads(line, object_hook=unpacked)


async def main(url, transports):
    client = socketio.AsyncClient(reconnection=False)

    @client.on("*")
    async def event(name, *args):
        report(event=name, args=args)

    @client.event
    async def disconnect(reason):
        report(disconnected=reason)

    await client.connect(url, transports=transports.split(","))
    report(connected=True)
    async for command in commands():
        callback = None
        if (number := command.get("ack")) is not None:
            callback = lambda *args, number=number: report(ack=number, args=args)
        await client.emit(command["emit"], several(command["args"]), callback=callback)
    await client.disconnect()


asyncio.run(main(*sys.argv[1:]))
