"use strict";
(() => {
  const EVERY = 2000; // ms between two looks
  const DEADLINE = 5000; // ms for an answer
  const WINDOW = 10; // s over which rates are taken
  const TREND = 60; // looks that a trend shows
  const STORE = "rookery.apiKey";
  const $ = (id) => document.getElementById(id);
  const SVG = document.querySelector("svg").namespaceURI;

  // Text and nothing else: what comes from the server never becomes markup.
  const put = (id, text) => {
    const at = typeof id === "string" ? $(id) : id;
    if (at.textContent !== text) at.textContent = text;
  };
  const show = (id, shown) => { $(id).hidden = !shown; };

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const number = (n) => whole.format(n);
  const rate = (n) => (n === null ? "–" : n > 0 && n < 0.05 ? "< 0.1" : n < 100 ? tenth.format(n) : whole.format(n));
  const time = (s) => {
    if (s === null || s === undefined) return "–";
    if (s < 0.000001) return "0 µs";
    if (s < 0.0009995) return `${three.format(s * 1e6)} µs`;
    return s < 0.9995 ? `${three.format(s * 1e3)} ms` : `${three.format(s)} s`;
  };
  const long = (s) => {
    const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
    return d > 0 ? `${d} d ${h} h` : h > 0 ? `${h} h ${m} min` : m > 0 ? `${m} min` : `${Math.floor(s)} s`;
  };
  const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  const many = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;
  const words = (name) => name.replaceAll("_", " ");

  // ---- the key: in this tab alone
  let key = null;
  try { key = sessionStorage.getItem(STORE); } catch { /* storage is switched off: memory will do */ }
  const keep = (value) => {
    key = value;
    try {
      if (value === null) sessionStorage.removeItem(STORE);
      else sessionStorage.setItem(STORE, value);
    } catch { /* as above */ }
  };

  // ---- asking
  class Refused extends Error {
    constructor(status, detail) { super(detail); this.status = status; }
  }
  class Silent extends Error {}
  const ask = async (path) => {
    let response, body;
    try {
      response = await fetch(path, {
        headers: key === null ? {} : { Authorization: `Bearer ${key}` },
        cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(DEADLINE),
      });
      body = await response.text();
    } catch (problem) {
      throw new Silent(problem.message);
    }
    if (response.ok) return JSON.parse(body);
    let detail = `It answered ${response.status}.`;
    try { detail = JSON.parse(body).detail ?? detail; } catch { /* an answer of something in between */ }
    throw new Refused(response.status, detail);
  };

  let sort = "p99";
  let timer = null;
  let asking = false;
  let answered = null; // when it did last
  let again = false;

  const look = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    if (asking) { again = true; return; }
    asking = true;
    let next = EVERY;
    try {
      const status = await ask("/api/status");
      answered = new Date();
      entered(status);
      try {
        const by = sort;
        const { rooms } = await ask(`/api/latency?scope=local&sort=${by}&limit=10`);
        if (by === sort) listed(rooms, by);
      } catch (problem) {
        if (!(problem instanceof Refused) || problem.status === 401 || problem.status === 403) throw problem;
        show("rooms-problem", true);
        put("rooms-problem", `The rooms cannot be shown: ${problem.message}`);
      }
      if (samples.length < 2) next = EVERY / 4;
    } catch (problem) {
      next = failed(problem);
    }
    asking = false;
    if (again) { again = false; next = 0; }
    if (document.hidden) paused();
    else if (next !== null) timer = setTimeout(look, next);
  };

  const paused = () => {
    clearTimeout(timer);
    if (!$("data").hidden && $("silent").hidden) state("Paused");
  };

  // ---- what the server answers, or not
  const state = (text, kind = "") => {
    put("state", text);
    $("state").className = `pill ${kind}`;
  };
  const only = (...shown) => {
    for (const id of ["silent", "refused", "waiting", "door", "data"]) show(id, shown.includes(id));
  };

  const failed = (problem) => {
    if (problem instanceof Refused && problem.status === 401) {
      only("door");
      show("key-plain", !isSecureContext);
      state("Key needed", "warn");
      put("key-problem", key === null ? "" : problem.message);
      keep(null);
      show("forget", false);
      forgetNumbers();
      if (!$("key").contains(document.activeElement)) $("key").focus();
      return null; // every further try would be counted as a refusal
    }
    if (problem instanceof Refused && problem.status === 403) {
      only("refused");
      state("Closed", "bad");
      put("refused-why", problem.message);
      forgetNumbers();
      return null;
    }
    only("silent", ...(answered && !$("data").hidden ? ["data"] : []), ...(!$("door").hidden ? ["door"] : []));
    $("data").classList.add("stale");
    state(problem instanceof Silent ? "No answer" : "Error", "bad");
    const since = answered ? ` since ${answered.toLocaleTimeString("en-GB")}` : "";
    const shown = $("data").hidden ? "" : "What is shown is from then. ";
    const soon = `Asking again every ${EVERY / 1000} s; nothing need be done here.`;
    $("silent").classList.toggle("over", !$("data").hidden);
    if (problem instanceof Silent) {
      put("silent-what", `No answer from ${location.host}${since}`);
      put("silent-why", shown + soon);
    } else if (problem instanceof Refused) {
      put("silent-what", `${location.host} answers with an error${since}`);
      put("silent-why", `${problem.message} ${shown}${soon}`);
    } else {
      put("silent-what", `${location.host} answers what this page does not understand`);
      put("silent-why", "It may be of another version now: reload the page.");
      console.error(problem);
    }
    return EVERY;
  };

  const entered = (status) => {
    only("data", ...(status.draining || status.ready.length ? ["waiting"] : []));
    $("data").classList.remove("stale");
    state(status.draining ? "Stopping" : status.ready.length ? "Not ready" : "Live", status.draining || status.ready.length ? "warn" : "good");
    show("forget", key !== null);
    put("waiting-what", status.draining ? "This instance was told to stop" : "This instance is not ready");
    put("waiting-why", status.draining
      ? `${many(open(status), "connection")} left; their clients reconnect elsewhere by themselves.`
      : status.ready.join("; "));
    numbers(status);
  };

  // ---- numbers
  let samples = []; // of the last WINDOW seconds
  let trends = { connections: [], deliveries: [] };
  const open = (status) => status.connections.polling + status.connections.websocket;
  const forgetNumbers = () => {
    samples = [];
    trends = { connections: [], deliveries: [] };
    rows.clear();
    $("rows").replaceChildren();
  };

  const numbers = (status) => {
    const last = samples.at(-1);
    const other = last && (last.pod !== status.pod || last.uptimeSeconds >= status.uptimeSeconds);
    if (other || (last && status.uptimeSeconds - last.uptimeSeconds > 3 * WINDOW)) samples = [];
    if (other) trends = { connections: [], deliveries: [] };
    samples.push(status);
    while (samples.length > 2 && status.uptimeSeconds - samples[0].uptimeSeconds > WINDOW) samples.shift();
    const [first] = samples;
    const passed = status.uptimeSeconds - first.uptimeSeconds;
    const per = (of) => (passed > 0 ? Math.max(0, of(status) - of(first)) / passed : null);
    const each = (of) => Object.keys(of(status))
      .map((name) => [name, per((s) => of(s)[name] ?? 0)])
      .filter(([, n]) => n > 0);
    const list = (pairs) => pairs.map(([name, n]) => `${words(name)} ${rate(n)}/s`).join(", ");

    put("version", status.version);
    put("who", `pod ${status.pod}, up ${long(status.uptimeSeconds)}`);
    put("connections", number(open(status)));
    const full = open(status) >= 0.9 * status.connections.limit;
    put("limit", `of ${number(status.connections.limit)}${full ? ", nearly full" : ""}`);
    $("limit").classList.toggle("near", full);
    put("transports", `${number(status.connections.websocket)} WebSocket, ${number(status.connections.polling)} polling`);
    const written = per((s) => s.deliveries.written);
    put("deliveries", rate(written));
    const lost = each((s) => s.deliveries).filter(([name]) => name !== "written");
    put("dropped", lost.length ? list(lost) : `${number(status.deliveries.written)} since the start`);
    put("publications", rate(per((s) => sum(s.publications))));
    const sources = each((s) => s.publications);
    put("sources", sources.length ? list(sources) : `${number(sum(status.publications))} since the start`);
    put("connects", rate(per((s) => s.connects.accepted)));
    const gone = each((s) => s.disconnects);
    put("disconnects", gone.length ? `Disconnects: ${list(gone)}` : "No disconnects");
    const turned = each((s) => s.rejected);
    put("rejected", turned.length ? `Refused: ${list(turned)}` : `Refused since the start: ${number(sum(status.rejected))}`);
    redis(status.redis);
    draw("connections", open(status));
    if (written !== null) draw("deliveries", written);
    commands(status);
  };

  const redis = (link) => {
    const kind = link === null ? "" : link.up ? "good" : "bad";
    put("redis", link === null ? "None" : link.up ? "Up" : "Down");
    $("redis").className = `pill ${kind}`;
    put("redis-url", link === null ? "This instance stands alone." : link.url);
    const unsent = link && link.unsent > 0 ? `, ${many(link.unsent, "publication")} never sent` : "";
    put("redis-more", link === null
      ? "rookery serve --redis redis://HOST:6379"
      : `${many(link.reconnects, "reconnect")}${unsent}`);
  };

  const draw = (name, value) => {
    const values = trends[name];
    values.push(value);
    if (values.length > TREND) values.shift();
    const most = Math.max(1, ...values);
    const at = (v, i) => `${((i + TREND - values.length) * 100 / (TREND - 1)).toFixed(2)} ${(27 - v * 25 / most).toFixed(2)}`;
    $(`${name}-trend`).lastElementChild.setAttribute("d", values.length > 1 ? `M${values.map(at).join("L")}` : "");
  };

  // ---- rooms
  const rows = new Map();
  const named = ({ namespace, room }) => JSON.stringify([namespace, room]);

  const listed = (rooms, by) => {
    show("rooms-problem", false);
    show("rooms", rooms.length > 0);
    show("rooms-note", rooms.length > 0);
    show("no-rooms", rooms.length === 0);
    // Equal ones keep one order, whatever order they came in.
    const value = (room) => room[by] ?? -1;
    const order = (a, b) => value(b) - value(a) || (named(a) < named(b) ? -1 : 1);
    const ordered = [...rooms].sort(order);
    const kept = new Set(ordered.map(named));
    for (const [name, row] of rows) {
      if (!kept.has(name)) { row.line.remove(); rows.delete(name); }
    }
    ordered.forEach((room, index) => {
      const name = named(room);
      if (!rows.has(name)) rows.set(name, row());
      const { line } = rows.get(name);
      const there = $("rows").children[index];
      if (there !== line) $("rows").insertBefore(line, there ?? null);
      fill(rows.get(name), room);
    });
    put("rooms-title", { p99: "Slowest rooms", rate: "Busiest rooms", members: "Biggest rooms" }[by]);
    put("rooms-count", `${number(samples.at(-1)?.rooms ?? 0)} with members here`);
    if (ordered.length) bounds(ordered[0].buckets ?? []);
    if (example === EXAMPLE) {
      example = ordered.find(({ namespace, room }) => namespace === "/" && PLAIN.test(room))?.room ?? EXAMPLE;
      commands(samples.at(-1));
    }
  };

  const row = () => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    line.setAttribute("role", "row"); // on a phone no longer shown as a table
    head.setAttribute("role", "rowheader");
    const name = document.createElement("span");
    name.className = "room";
    const namespace = document.createElement("span");
    namespace.className = "soft small";
    head.append(name, namespace);
    line.append(head);
    const cell = (label) => {
      const made = document.createElement("td");
      made.dataset.label = label;
      made.setAttribute("role", "cell");
      line.append(made);
      return made;
    };
    const cells = { p99: cell("p99"), p50: cell("p50"), max: cell("longest"), rate: cell("deliveries"), members: cell("members") };
    const chart = document.createElementNS(SVG, "svg");
    chart.setAttribute("class", "bars");
    chart.setAttribute("role", "img");
    chart.setAttribute("preserveAspectRatio", "none");
    const last = document.createElement("td");
    last.setAttribute("role", "cell");
    last.append(chart);
    line.append(last);
    return { line, name, namespace, chart, ...cells };
  };

  const fill = (at, room) => {
    put(at.name, room.room);
    at.name.title = room.room;
    put(at.namespace, room.namespace === "/" ? "" : `in ${room.namespace}`);
    put(at.p99, time(room.p99));
    put(at.p50, time(room.p50));
    put(at.max, time(room.max));
    put(at.rate, `${rate(room.rate)} /s`);
    put(at.members, number(room.members));
    bars(at.chart, { buckets: room.buckets ?? [], p99: room.p99 });
  };

  const HEIGHT = 36;
  const STEP = 10;
  const box = (kind, x, y, width, height) => {
    const made = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ class: kind, x, y, width, height })) made.setAttribute(name, value);
    return made;
  };
  const range = (buckets, index) => {
    const { le } = buckets[index];
    const from = index === 0 ? null : buckets[index - 1].le;
    return le === null ? `over ${time(from)}` : from === null ? `up to ${time(le)}` : `${time(from)} to ${time(le)}`;
  };

  // A bar for each bucket, as high as its share; those from the p99 on stand out.
  const bars = (chart, { buckets, p99 }) => {
    const drawn = JSON.stringify([buckets, p99]);
    if (chart.drawn === drawn) return;
    chart.drawn = drawn;
    chart.setAttribute("viewBox", `0 0 ${buckets.length * STEP} ${HEIGHT}`);
    const most = Math.max(1, ...buckets.map(({ count }) => count));
    const tail = buckets.findIndex(({ le }) => le === null || p99 <= le);
    const parts = buckets.map(({ count }, index) => {
      const part = document.createElementNS(SVG, "g");
      const title = document.createElementNS(SVG, "title");
      title.textContent = `${range(buckets, index)}: ${count === 1 ? "1 delivery" : `${number(count)} deliveries`}`;
      const high = count === 0 ? 0 : Math.max(2, count / most * (HEIGHT - 3));
      part.append(title, box("all", index * STEP, 0, STEP, HEIGHT), box("base", index * STEP, HEIGHT - 1, STEP, 1));
      if (high > 0) part.append(box(p99 !== null && index >= tail ? "bar tail" : "bar", index * STEP + 1, HEIGHT - 1 - high, STEP - 2, high));
      return part;
    });
    chart.replaceChildren(...parts);
    const total = buckets.reduce((all, { count }) => all + count, 0);
    const peak = buckets.findIndex(({ count }) => count === most);
    chart.setAttribute("aria-label", total === 0
      ? "No deliveries"
      : `${number(total)} deliveries, most of them ${range(buckets, peak)}; p99 ${time(p99)}`);
  };

  const bounds = (buckets) => {
    const known = buckets.filter(({ le }) => le !== null).map(({ le }) => le);
    if (known.length < 3 || $("scale").childElementCount) return;
    for (const le of [known[0], known[Math.floor(known.length / 2)], known.at(-1)]) {
      const mark = document.createElement("span");
      mark.textContent = time(le);
      $("scale").append(mark);
    }
  };

  // ---- what to type next
  const EXAMPLE = "acme:editor";
  const PLAIN = /^[A-Za-z0-9][A-Za-z0-9:._/@-]{0,60}$/; // names that no shell takes for anything else
  let example = EXAMPLE;

  const commands = (status) => {
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

  // ---- what the person does
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = $("key").value.trim();
    if (!/^[\x21-\x7e]+$/.test(typed)) {
      put("key-problem", "A key has letters, digits and signs of ASCII only, and no spaces.");
      return;
    }
    keep(typed);
    $("key").value = "";
    put("key-problem", "");
    look();
  });
  $("forget").addEventListener("click", () => { keep(null); look(); });
  $("again").addEventListener("click", look);
  for (const button of document.querySelectorAll("[data-sort]")) {
    button.addEventListener("click", () => {
      sort = button.dataset.sort;
      for (const other of document.querySelectorAll("[data-sort]")) {
        if (other === button) other.parentElement.setAttribute("aria-sort", "descending");
        else other.parentElement.removeAttribute("aria-sort");
      }
      look();
    });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) paused();
    else look();
  });
  look();
})();
