// The page: refreshes itself, shows which state the server is in, and handles input.
const REFRESH_INTERVAL = 2000; // ms

let sort = "p99";
let timer = null;
let refreshing = false;
let lastAnswer = null; // the time of the last answer
let refreshAgain = false;

const refresh = async () => {
  clearTimeout(timer);
  if (document.hidden) return;
  if (refreshing) { refreshAgain = true; return; }
  refreshing = true;
  let next = REFRESH_INTERVAL;
  try {
    const status = await ask("/api/status");
    lastAnswer = new Date();
    showStatus(status);
    try {
      const by = sort;
      const { rooms } = await ask(`/api/latency?scope=local&sort=${by}&limit=10`);
      if (by === sort) showRooms(rooms, by);
    } catch (problem) {
      if (!(problem instanceof Refused) || problem.status === 401 || problem.status === 403) throw problem;
      show("rooms-problem", true);
      put("rooms-problem", `Cannot list the rooms: ${problem.message}`);
    }
    if (samples.length < 2) next = REFRESH_INTERVAL / 4;
  } catch (problem) {
    next = showFailure(problem);
  }
  refreshing = false;
  if (refreshAgain) { refreshAgain = false; next = 0; }
  if (document.hidden) paused();
  else if (next !== null) timer = setTimeout(refresh, next);
};

const paused = () => {
  clearTimeout(timer);
  if (!$("data").hidden && $("silent").hidden) showState("Paused");
};

const showState = (text, kind = "") => {
  put("state", text);
  $("state").className = `pill ${kind}`;
};
const showOnly = (...shown) => {
  for (const id of ["silent", "refused", "waiting", "door", "data"]) show(id, shown.includes(id));
};

const showFailure = (problem) => {
  if (problem instanceof Refused && problem.status === 401) {
    showOnly("door");
    show("key-plain", !isSecureContext);
    showState("Key needed", "warn");
    put("key-problem", key === null ? "" : problem.message);
    storeKey(null);
    show("forget", false);
    clearFigures();
    if (!$("key").contains(document.activeElement)) $("key").focus();
    return null; // the server counts every further request as a refusal
  }
  if (problem instanceof Refused && problem.status === 403) {
    showOnly("refused");
    showState("Closed", "bad");
    put("refused-why", problem.message);
    clearFigures();
    return null;
  }
  showOnly("silent", ...(lastAnswer && !$("data").hidden ? ["data"] : []), ...(!$("door").hidden ? ["door"] : []));
  $("data").classList.add("stale");
  showState(problem instanceof NoAnswer ? "No answer" : "Error", "bad");
  const since = lastAnswer ? ` since ${lastAnswer.toLocaleTimeString("en-GB")}` : "";
  const shown = $("data").hidden ? "" : "The figures are from then. ";
  const soon = `Retrying every ${REFRESH_INTERVAL / 1000} s.`;
  $("silent").classList.toggle("over", !$("data").hidden);
  if (problem instanceof NoAnswer) {
    put("silent-what", `No answer from ${location.host}${since}`);
    put("silent-why", shown + soon);
  } else if (problem instanceof Refused) {
    put("silent-what", `${location.host} answers with an error${since}`);
    put("silent-why", `${problem.message} ${shown}${soon}`);
  } else {
    put("silent-what", `${location.host} sent an unexpected answer`);
    put("silent-why", "It may run another version now: reload the page.");
    console.error(problem);
  }
  return REFRESH_INTERVAL;
};

const showStatus = (status) => {
  showOnly("data", ...(status.draining || status.ready.length ? ["waiting"] : []));
  $("data").classList.remove("stale");
  showState(status.draining ? "Stopping" : status.ready.length ? "Not ready" : "Live", status.draining || status.ready.length ? "warn" : "good");
  show("forget", key !== null);
  put("waiting-what", status.draining ? "This instance is draining" : "This instance is not ready");
  put("waiting-why", status.draining
    ? `${plural(sessions(status), "connection")} left; their clients reconnect to other instances.`
    : status.ready.join("; "));
  showFigures(status);
};

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = $("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(typed)) {
    put("key-problem", "A key consists of printable ASCII characters without spaces.");
    return;
  }
  storeKey(typed);
  $("key").value = "";
  put("key-problem", "");
  refresh();
});
$("forget").addEventListener("click", () => { storeKey(null); refresh(); });
$("again").addEventListener("click", refresh);
for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    sort = button.dataset.sort;
    for (const other of document.querySelectorAll("[data-sort]")) {
      if (other === button) other.parentElement.setAttribute("aria-sort", "descending");
      else other.parentElement.removeAttribute("aria-sort");
    }
    refresh();
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) paused();
  else refresh();
});
refresh();
