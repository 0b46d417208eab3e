/** The clock of the API's host, because the clock of this machine may be wrong. */

let skew = 0;

/**
 * Set the clock from the `Date` header of a response. It has whole seconds, so small differences are ignored.
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
