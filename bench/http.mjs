// The load of HTTP requests on one server, with members in the room that is published to.

import { openMembers, publishOverHttp } from "./servers.mjs";

/** Publishes over HTTP; undefined where the server does not speak HTTP/2. */
export async function load(row, server, { system, seconds, notes }) {
  const { path, body, http2, members, publications } = row.http;
  // The bare handler delivers nothing.
  const room = system === "bare" ? undefined : await openMembers("1", server, { rooms: 1, members });
  try {
    if (http2 && !(await speaksHttp2(server.api))) {
      const note = `Not measured, because the HTTP API of "${system}" does not speak HTTP/2: ${row.name}.`;
      if (!notes.includes(note)) notes.push(note);
      return undefined;
    }
    const report = await publishOverHttp("1", server, { path, body, http2, seconds });
    if (report.requests === 0) throw new Error(`nothing was answered: ${JSON.stringify(report)}`);
    if (room?.child.exitCode) throw new Error(`a member failed: ${room.child.output}`);
    return { ...report, publicationsPerCpuSecond: (publications * report.requests) / report.serverCpuSeconds };
  } finally {
    await room?.stop();
  }
}

// Whether a server answers a request of HTTP/2 without TLS and without an upgrade.
async function speaksHttp2(url) {
  const { connect } = await import("node:http2");
  return new Promise((resolve) => {
    const session = connect(url);
    const end = (speaks) => {
      session.destroy();
      resolve(speaks);
    };
    session.on("error", () => end(false)).on("close", () => end(false));
    const request = session.request({ ":path": "/" });
    request.on("response", () => end(true)).on("error", () => end(false)).end();
  });
}
