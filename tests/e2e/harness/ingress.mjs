// How clients outside the cluster reach the ingress: its address, and agents that resolve every
// host name to it, as public DNS would.
import http from "node:http";
import { kubectl } from "./kubectl.mjs";

/** The ingress's NodePort for HTTP (fixtures/traefik.yaml). */
const PORT = 30080;

let found;

/** Its address: E2E_INGRESS_URL, or the NodePort on any node. */
export async function ingress() {
  found ??= new Ingress(new URL(process.env.E2E_INGRESS_URL ?? (await nodeUrl())));
  return found;
}

class Ingress {
  constructor(url) {
    this.address = url.hostname;
    this.port = url.port || 80;
  }

  /** The URL of a host behind the ingress. */
  url(host) {
    return `http://${host}:${this.port}`;
  }

  /** An agent whose connections all go to the ingress. */
  agent(options = {}) {
    const lookup = (_, { all }, done) => {
      const one = { address: this.address, family: 4 };
      all ? done(null, [one]) : done(null, one.address, one.family);
    };
    return new http.Agent({ keepAlive: true, lookup, ...options });
  }

  /** One request: {status, headers, body}. Each on a connection of its own. */
  request(host, path, { method = "GET", headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: this.agent({ keepAlive: false }), timeout: 30_000 };
      const request = http.request(`${this.url(host)}${path}`, options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (data) => (text += data));
        response.on("error", reject).on("end", () => {
          resolve({ status: response.statusCode, headers: response.headers, body: text });
        });
      });
      request.on("timeout", () => request.destroy(new Error(`no answer from ${host}${path}`)));
      request.on("error", reject).end(body);
    });
  }
}

async function nodeUrl() {
  const path = '{.items[0].status.addresses[?(@.type=="InternalIP")].address}';
  return `http://${await kubectl("get", "nodes", "-o", `jsonpath=${path}`)}:${PORT}`;
}
