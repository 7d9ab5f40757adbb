// The figures of the instance, as rates over the last seconds.
const RATE_WINDOW = 10; // s
const TREND_LENGTH = 60; // samples that a trend shows

let samples = []; // statuses of the last RATE_WINDOW seconds
let trends = { connections: [], deliveries: [] };
const sessions = (status) => status.connections.polling + status.connections.websocket;
const clearFigures = () => {
  samples = [];
  trends = { connections: [], deliveries: [] };
  rows.clear();
  $("rows").replaceChildren();
};

const showFigures = (status) => {
  const last = samples.at(-1);
  const other = last && (last.pod !== status.pod || last.uptimeSeconds >= status.uptimeSeconds);
  if (other || (last && status.uptimeSeconds - last.uptimeSeconds > 3 * RATE_WINDOW)) samples = [];
  if (other) trends = { connections: [], deliveries: [] };
  samples.push(status);
  while (samples.length > 2 && status.uptimeSeconds - samples[0].uptimeSeconds > RATE_WINDOW) samples.shift();
  const [first] = samples;
  const elapsed = status.uptimeSeconds - first.uptimeSeconds;
  const perSecond = (of) => (elapsed > 0 ? Math.max(0, of(status) - of(first)) / elapsed : null);
  const each = (of) => Object.keys(of(status))
    .map((name) => [name, perSecond((s) => of(s)[name] ?? 0)])
    .filter(([, n]) => n > 0);
  const list = (pairs) => pairs.map(([name, n]) => `${spaced(name)} ${rate(n)}/s`).join(", ");

  put("version", status.version);
  put("who", `pod ${status.pod}, up ${duration(status.uptimeSeconds)}`);
  put("connections", number(sessions(status)));
  const full = sessions(status) >= 0.9 * status.connections.limit;
  put("limit", `of ${number(status.connections.limit)}${full ? ", nearly full" : ""}`);
  $("limit").classList.toggle("near", full);
  put("transports", `${number(status.connections.websocket)} WebSocket, ${number(status.connections.polling)} polling`);
  const written = perSecond((s) => s.deliveries.written);
  put("deliveries", rate(written));
  const dropped = each((s) => s.deliveries).filter(([name]) => name !== "written");
  put("dropped", dropped.length ? list(dropped) : `${number(status.deliveries.written)} since the start`);
  put("publications", rate(perSecond((s) => sum(s.publications))));
  const sources = each((s) => s.publications);
  put("sources", sources.length ? list(sources) : `${number(sum(status.publications))} since the start`);
  put("connects", rate(perSecond((s) => s.connects.accepted)));
  const disconnects = each((s) => s.disconnects);
  put("disconnects", disconnects.length ? `Disconnects: ${list(disconnects)}` : "No disconnects");
  const refused = each((s) => s.rejected);
  put("rejected", refused.length ? `Refused: ${list(refused)}` : `Refused since the start: ${number(sum(status.rejected))}`);
  showRedis(status.redis);
  drawTrend("connections", sessions(status));
  if (written !== null) drawTrend("deliveries", written);
  showCommands(status);
};

const showRedis = (link) => {
  const kind = link === null ? "" : link.up ? "good" : "bad";
  put("redis", link === null ? "None" : link.up ? "Up" : "Down");
  $("redis").className = `pill ${kind}`;
  put("redis-url", link === null ? "Redis is not configured." : link.url);
  const unsent = link && link.unsent > 0 ? `, ${plural(link.unsent, "publication")} never sent` : "";
  put("redis-more", link === null
    ? "rookery serve --redis redis://HOST:6379"
    : `${plural(link.reconnects, "reconnect")}${unsent}`);
};

const drawTrend = (name, value) => {
  const values = trends[name];
  values.push(value);
  if (values.length > TREND_LENGTH) values.shift();
  const most = Math.max(1, ...values);
  const at = (v, i) => `${((i + TREND_LENGTH - values.length) * 100 / (TREND_LENGTH - 1)).toFixed(2)} ${(27 - v * 25 / most).toFixed(2)}`;
  $(`${name}-trend`).lastElementChild.setAttribute("d", values.length > 1 ? `M${values.map(at).join("L")}` : "");
};
