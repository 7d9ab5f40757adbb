// Requests to the server, with the API key if there is one.
const REQUEST_TIMEOUT = 5000; // ms
const KEY_ITEM = "rookery.apiKey"; // in the session storage of this tab

let key = null;
try { key = sessionStorage.getItem(KEY_ITEM); } catch { /* storage is disabled: the key stays in memory */ }
const storeKey = (value) => {
  key = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY_ITEM);
    else sessionStorage.setItem(KEY_ITEM, value);
  } catch { /* as above */ }
};

class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}
class NoAnswer extends Error {}
const ask = async (path) => {
  let response, body;
  try {
    response = await fetch(path, {
      headers: key === null ? {} : { Authorization: `Bearer ${key}` },
      cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(REQUEST_TIMEOUT),
    });
    body = await response.text();
  } catch (problem) {
    throw new NoAnswer(problem.message);
  }
  if (response.ok) return JSON.parse(body);
  let detail = `The answer was ${response.status}.`;
  try { detail = JSON.parse(body).detail ?? detail; } catch { /* not from Rookery: a proxy, perhaps */ }
  throw new Refused(response.status, detail);
};
