// The table of rooms, with a histogram for each.
const rows = new Map();
const rowKey = ({ namespace, room }) => JSON.stringify([namespace, room]);

const showRooms = (rooms, by) => {
  show("rooms-problem", false);
  show("rooms", rooms.length > 0);
  show("rooms-note", rooms.length > 0);
  show("no-rooms", rooms.length === 0);
  // Rooms with equal values keep a stable order.
  const value = (room) => room[by] ?? -1;
  const order = (a, b) => value(b) - value(a) || (rowKey(a) < rowKey(b) ? -1 : 1);
  const ordered = [...rooms].sort(order);
  const kept = new Set(ordered.map(rowKey));
  for (const [name, row] of rows) {
    if (!kept.has(name)) { row.line.remove(); rows.delete(name); }
  }
  ordered.forEach((room, index) => {
    const name = rowKey(room);
    if (!rows.has(name)) rows.set(name, newRow());
    const { line } = rows.get(name);
    const there = $("rows").children[index];
    if (there !== line) $("rows").insertBefore(line, there ?? null);
    fillRow(rows.get(name), room);
  });
  put("rooms-title", { p99: "Slowest rooms", rate: "Busiest rooms", members: "Biggest rooms" }[by]);
  put("rooms-count", `${number(samples.at(-1)?.rooms ?? 0)} with members here`);
  if (ordered.length) showScale(ordered[0].buckets ?? []);
  if (example === EXAMPLE) {
    example = ordered.find(({ namespace, room }) => namespace === "/" && PLAIN.test(room))?.room ?? EXAMPLE;
    showCommands(samples.at(-1));
  }
};

const newRow = () => {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  line.setAttribute("role", "row"); // the narrow layout is not a table to CSS
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

const fillRow = (at, room) => {
  put(at.name, room.room);
  at.name.title = room.room;
  put(at.namespace, room.namespace === "/" ? "" : `in ${room.namespace}`);
  put(at.p99, time(room.p99));
  put(at.p50, time(room.p50));
  put(at.max, time(room.max));
  put(at.rate, `${rate(room.rate)} /s`);
  put(at.members, number(room.members));
  drawHistogram(at.chart, { buckets: room.buckets ?? [], p99: room.p99 });
};

const HEIGHT = 36;
const STEP = 10;
const rectangle = (kind, x, y, width, height) => {
  const made = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ class: kind, x, y, width, height })) made.setAttribute(name, value);
  return made;
};
const range = (buckets, index) => {
  const { le } = buckets[index];
  const from = index === 0 ? null : buckets[index - 1].le;
  return le === null ? `over ${time(from)}` : from === null ? `up to ${time(le)}` : `${time(from)} to ${time(le)}`;
};

// One bar for each bucket; those from the p99 on are highlighted.
const drawHistogram = (chart, { buckets, p99 }) => {
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
    const barHeight = count === 0 ? 0 : Math.max(2, count / most * (HEIGHT - 3));
    part.append(title, rectangle("all", index * STEP, 0, STEP, HEIGHT), rectangle("base", index * STEP, HEIGHT - 1, STEP, 1));
    if (barHeight > 0) part.append(rectangle(p99 !== null && index >= tail ? "bar tail" : "bar", index * STEP + 1, HEIGHT - 1 - barHeight, STEP - 2, barHeight));
    return part;
  });
  chart.replaceChildren(...parts);
  const total = buckets.reduce((all, { count }) => all + count, 0);
  const peak = buckets.findIndex(({ count }) => count === most);
  chart.setAttribute("aria-label", total === 0
    ? "No deliveries"
    : `${number(total)} deliveries, most of them ${range(buckets, peak)}; p99 ${time(p99)}`);
};

const showScale = (buckets) => {
  const known = buckets.filter(({ le }) => le !== null).map(({ le }) => le);
  if (known.length < 3 || $("scale").childElementCount) return;
  for (const le of [known[0], known[Math.floor(known.length / 2)], known.at(-1)]) {
    const mark = document.createElement("span");
    mark.textContent = time(le);
    $("scale").append(mark);
  }
};
