// How the tests wait: for a condition, with a deadline and a description.

/** How long a condition may take, in milliseconds, where a test says nothing else. */
export const PATIENCE = 90_000;

/**
 * Waits until `condition` gives something true, and gives it. An error of `condition` counts as
 * "not yet". What it gave or threw last is told when the deadline passes; `what` may be a function.
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

/** Lets time pass between two looks at something. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Gives what `promise` gives, unless it takes too long. */
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
