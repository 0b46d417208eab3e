/** The time as the API's host has it: an operator's clock may be wrong, and elapsed times must not be. */

let skew = 0;

/**
 * Learn from the `Date` header of an answer. It has whole seconds, so that small differences say nothing.
 * @param {string | null} header
 */
export function learn(header) {
  const difference = header ? Date.parse(header) + 500 - Date.now() : 0;
  skew = Math.abs(difference) > 2000 ? difference : 0;
}

/** Milliseconds since 1970. */
export function now() {
  return Date.now() + skew;
}
