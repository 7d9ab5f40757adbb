// Commands to copy, for this instance and one of its rooms.
const EXAMPLE = "acme:editor";
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9:._/@-]{0,60}$/; // names that need no quoting in a shell
let example = EXAMPLE;

const showCommands = (status) => {
  const [, address, port] = /^(.*):(\d+)$/.exec(status.listen) ?? ["", location.hostname, "3000"];
  const everywhere = ["0.0.0.0", "[::]", "127.0.0.1", "[::1]"].includes(address);
  const host = `${everywhere ? location.hostname : address}:${port}`;
  const at = host === "127.0.0.1:3000" ? "" : ` --url ${location.protocol}//${host}`;
  const auth = key === null ? "" : ` -H "Authorization: Bearer $ROOKERY_KEY"`;
  const body = JSON.stringify({ room: example, event: "chat", args: [{ text: "hello" }] });
  put("sub", `rookery sub ${example}${at}`);
  put("curl", `curl ${location.origin}/api/publish -H 'content-type: application/json'${auth} -d '${body}'`);
  show("curl-key", key !== null);
  put("top", `rookery top${location.origin.endsWith("//127.0.0.1:9090") ? "" : ` --api ${location.origin}`}`);
  put("latency", `curl${auth} ${location.origin}/api/rooms/${encodeURIComponent(example)}/latency`);
  put("metrics", `curl ${location.origin}/metrics`);
  put("try-sub", `rookery sub ${EXAMPLE}${at}`);
  put("try-pub", `rookery pub ${EXAMPLE} chat '{"text":"hello"}'${at}`);
};
