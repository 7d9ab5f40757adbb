// A minimal ingress: it routes a session to the instance that opened it and new sessions to the first
// ready instance, and can hold requests back.
import http from "node:http";
import net from "node:net";
import { atEnd } from "./harness.mjs";

export class Proxy {
  #sids = new Map();
  #sockets = new Set();

  /** Awaited with every request before it is passed on. */
  gate = async () => {};

  /** Awaited before the frames of a server that follow its 101 are passed on. */
  frames = async () => {};

  static async start(t, ...instances) {
    const proxy = new Proxy();
    proxy.instances = instances;
    const server = http.createServer((request, response) => {
      proxy.#forward(request, response).catch((error) => {
        response.writeHead(502).end(String(error));
      });
    });
    server.on("upgrade", (request, socket, head) => {
      proxy.#tunnel(request, socket, head).catch(() => socket.destroy());
    });
    server.on("connection", (socket) => proxy.#keep(socket));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${server.address().port}`;
    atEnd(t, () => {
      for (const socket of proxy.#sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    });
    return proxy;
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  async #target(sid) {
    if (this.#sids.has(sid)) return new URL(this.#sids.get(sid).url);
    for (const instance of this.instances) {
      const ready = await fetch(`${instance.internal}/readyz`).catch(() => undefined);
      if (ready?.ok) return new URL(instance.url);
    }
    throw new Error("no instance is ready");
  }

  async #forward(request, response) {
    await this.gate(request);
    const sid = sidOf(request);
    const { hostname, port, origin } = await this.#target(sid);
    const { method, url: path, headers } = request;
    const answer = await new Promise((resolve, reject) => {
      const onward = http.request({ hostname, port, method, path, headers, agent: false }, resolve);
      onward.on("error", reject);
      response.on("close", () => onward.destroy());
      request.pipe(onward);
    });
    response.writeHead(answer.statusCode, answer.headers);
    if (sid === null) {
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const opened = /"sid":"([^"]+)"/.exec(body.toString())?.[1];
      if (opened) this.#sids.set(opened, this.instances.find((i) => i.url === origin));
      response.end(body);
    } else {
      answer.on("error", () => response.destroy());
      answer.pipe(response);
    }
  }

  async #tunnel(request, socket, head) {
    await this.gate(request);
    const { hostname, port } = await this.#target(sidOf(request));
    const onward = net.connect(Number(port), hostname);
    this.#keep(onward);
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    }
    onward.write(`${lines.join("\r\n")}\r\n\r\n`);
    onward.write(head);
    socket.pipe(onward);
    onward.once("data", (head) => {
      onward.pause();
      const end = head.indexOf("\r\n\r\n") + 4;
      socket.write(head.subarray(0, end));
      this.frames().then(() => {
        socket.write(head.subarray(end));
        onward.pipe(socket);
      });
    });
    socket.on("close", () => onward.destroy());
    onward.on("close", () => socket.destroy());
  }
}

function sidOf(request) {
  return new URL(request.url, "http://proxy").searchParams.get("sid");
}

/** Whether a request is a poll. */
export function isPoll(request) {
  return request.method === "GET" && !request.headers.upgrade && sidOf(request) !== null;
}

/** Whether a request is a WebSocket handshake. */
export function isWebSocket(request) {
  return request.headers.upgrade !== undefined;
}

/** A gate that holds some requests until it is opened. */
export class Gate {
  #open;
  #opened = new Promise((resolve) => (this.#open = resolve));
  waiting = 0;

  pass() {
    this.waiting++;
    return this.#opened;
  }

  open() {
    this.#open();
  }
}
