/** The dialog that asks the user to confirm an operation. */

import { byId, setText } from "./dom.js";

/**
 * @param {{title: string, text: string, action: string, danger?: boolean}} question
 * @returns {Promise<boolean>} Whether the user confirmed. Also resolved by the Escape key, with false.
 */
export function confirmed({ title, text, action, danger = false }) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  const ok = byId("confirm-ok");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(ok, action);
  ok.className = danger ? "danger" : "primary";
  return new Promise((resolve) => {
    let answer = false;
    byId("confirm-cancel").onclick = () => dialog.close();
    ok.onclick = () => {
      answer = true;
      dialog.close();
    };
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
  });
}
