// How the tests wait: for a condition, with a deadline and a description.

/** How long a condition may take by default, in milliseconds. */
export const PATIENCE = 90_000;

/**
 * Waits until `condition` returns a truthy value, and returns it. An error counts as "not yet". At
 * the deadline the last result or error is reported; `what` may be a function.
 */
export async function until(what, condition, { patience = PATIENCE, every = 250 } = {}) {
  const deadline = Date.now() + patience;
  let last;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      last = JSON.stringify(value);
    } catch (error) {
      last = error.message;
    }
    if (Date.now() > deadline) {
      const name = typeof what === "function" ? what() : what;
      throw new Error(`not within ${patience / 1000} s: ${name} (last: ${last})`);
    }
    await pause(every);
  }
}

/** Pauses between two checks of a condition. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Resolves like `promise`, unless it takes too long. */
export async function within(what, promise, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${patience / 1000} s: ${what}`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
