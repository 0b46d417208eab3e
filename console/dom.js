/**
 * Creation of elements. Text is never parsed as HTML, and characters that could change how other text is shown are escaped.
 */

/** @typedef {Node | string | null | undefined | false} Child */

/** Attributes whose text is shown or spoken. Others, such as `value`, `href` and `id`, are not changed. */
const SHOWN = /^(title|placeholder|label|aria-label|aria-valuetext)$/;
/** Control characters, bidirectional formatting, invisible characters and spaces other than the usual one. */
const UNPRINTABLE = /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * Replace characters that are not printable with escape sequences, such as `\x1b` and `\u202e`, as the command line does.
 * Other users write the names, labels and reasons.
 * @param {string} text
 */
export function escaped(text) {
  return text.replace(UNPRINTABLE, (character) => {
    const code = /** @type {number} */ (character.codePointAt(0));
    const [letter, width] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
    return `\\${letter}${code.toString(16).padStart(width, "0")}`;
  });
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [attributes] `onclick` and the like are listeners; true is an empty attribute; null,
 *   undefined and false leave it out.
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, attributes, children);
  return element;
}

/**
 * The element with this id, which the page has.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

/**
 * Set an element's text if it differs.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  const shown = escaped(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/**
 * Set an attribute whose text is shown or spoken.
 * @param {Element} element
 * @param {"title" | "aria-label" | "aria-valuetext"} name
 * @param {string} text
 */
export function setLabel(element, name, text) {
  element.setAttribute(name, escaped(text));
}

/** @param {string} text The title of the page. */
export function setTitle(text) {
  document.title = escaped(text);
}

/**
 * Enable or disable a button. A disabled button keeps the focus, for keyboard users.
 * @param {HTMLElement} button
 * @param {boolean} enabled
 */
export function enable(button, enabled) {
  button.setAttribute("aria-disabled", String(!enabled));
}

/**
 * Radio buttons that look like one control.
 * @template {string} V
 * @param {string} name
 * @param {string} label
 * @param {readonly (readonly [V, string])[]} options Each a value and its text.
 * @param {V} value
 * @param {(value: V) => void} onChange
 * @returns {{element: HTMLElement, select: (value: V) => void}}
 */
export function segmented(name, label, options, value, onChange) {
  const inputs = options.map(([one]) =>
    h("input", { type: "radio", name, value: one, id: `${name}-${one}`, onchange: () => onChange(one) }),
  );
  const element = h(
    "fieldset",
    { class: "segmented" },
    h("legend", { class: "sr" }, label),
    ...options.flatMap(([one, text], index) => [inputs[index], h("label", { for: `${name}-${one}` }, text)]),
  );
  /** @param {V} chosen */
  const select = (chosen) => {
    for (const input of inputs) input.checked = input.value === chosen;
  };
  select(value);
  return { element, select };
}

/**
 * @param {Element} element
 * @param {Record<string, unknown>} attributes
 * @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else element.setAttribute(name, value === true ? "" : SHOWN.test(name) ? escaped(String(value)) : String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(typeof child === "string" ? escaped(child) : child);
  }
}
