/**
 * The address of the page. Its fragment selects the view and contains the view's filters:
 * `#?project=…&status=running` is the fleet, `#activity?project=…` a project's history, `#schedules?project=…` its
 * schedules, and `#<id>` a container.
 */

/** @typedef {{view: "fleet" | "activity" | "schedules" | "container", id: string, query: URLSearchParams}} Route */

/** @returns {Route} */
export function current() {
  const [path, ...rest] = location.hash.slice(1).split("?");
  const id = decoded(path).trim();
  const query = new URLSearchParams(rest.join("?"));
  if (id === "activity" || id === "schedules") return { view: id, id, query };
  return { view: id === "" ? "fleet" : "container", id, query };
}

/**
 * @param {string} path An id, `activity`, `schedules`, or an empty string for the fleet.
 * @param {URLSearchParams} [query]
 */
export function link(path, query) {
  const text = String(query ?? "");
  return `#${encodeURIComponent(path)}${text ? `?${text}` : ""}`;
}

/**
 * Open an address. The page reads it when the `hashchange` event arrives.
 * @param {string} hash
 * @param {{replace?: boolean}} [options] `replace` adds no entry to the browser's history.
 */
export function go(hash, { replace = false } = {}) {
  if (replace) location.replace(hash);
  else location.hash = hash;
}

/**
 * Create a query from the values that are set.
 * @param {Record<string, string | readonly string[]>} values
 */
export function queryOf(values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of typeof value === "string" ? [value] : value) if (one !== "") query.append(name, one);
  }
  return query;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
