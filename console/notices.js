/** Messages about operations, newest first. They stay until they are dismissed or replaced by newer messages. */

import { h } from "./dom.js";
import { clockTime } from "./format.js";

const MOST = 4;

/**
 * @typedef {object} Notice
 * @property {"ok" | "info" | "error"} kind
 * @property {string} title
 * @property {string} [code]
 * @property {string[]} [lines]
 * @property {string} [requestId]
 * @property {{text: string, run: () => void}} [action]
 */

export class Notices {
  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} live The region whose text is announced.
   */
  constructor(root, live) {
    this.root = root;
    this.live = live;
  }

  /**
   * Show and announce a notice. It replaces `before` if that is still displayed.
   * @param {Notice} notice
   * @param {HTMLElement} [before]
   * @returns {HTMLElement}
   */
  show(notice, before) {
    const { kind, title, code, lines = [], requestId, action } = notice;
    const close = () => {
      element.remove();
      // The focused element was removed.
      this.root.focus();
    };
    const element = h(
      "article",
      { class: `notice is-${kind}` },
      h(
        "div",
        { class: "notice-body" },
        h("p", { class: "notice-title" }, h("strong", {}, title), code ? " " : "", code ? h("code", {}, code) : ""),
        ...lines.map((line) => h("p", {}, line)),
        h(
          "p",
          { class: "hint" },
          clockTime(Date.now()),
          requestId ? " · request " : "",
          requestId ? h("code", { class: "breakable" }, requestId) : "",
        ),
      ),
      action
        ? h("button", { type: "button", onclick: () => (close(), action.run()) }, action.text)
        : null,
      h("button", { type: "button", class: "quiet", "aria-label": `Dismiss: ${title}`, onclick: close }, "✕"),
    );
    if (before?.isConnected) before.replaceWith(element);
    else this.root.prepend(element);
    while (this.root.children.length > MOST) this.root.lastElementChild?.remove();
    this.announce([title, ...lines].join(". "));
    return element;
  }

  /** @param {string} text */
  announce(text) {
    // A new element each time, so that a repeated text is announced again.
    this.live.replaceChildren(h("p", {}, text));
  }

  clear() {
    this.root.replaceChildren();
  }
}
