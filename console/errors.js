/**
 * Notices for errors of the API.
 *
 * @import { Notice } from "./notices.js"
 */

import { ApiError } from "./api.js";

/**
 * Create a notice with all details of an error: message, code, reason, faults, allowed operations, request id.
 * @param {unknown} error
 * @returns {Notice}
 */
export function describe(error) {
  if (!(error instanceof ApiError)) {
    return { kind: "error", title: error instanceof Error ? error.message : String(error) };
  }
  return { kind: "error", title: error.message, code: error.code, lines: details(error.data), requestId: error.requestId };
}

/**
 * Describe an error in one line.
 * @param {unknown} error
 */
export function oneLine(error) {
  const { title, code, lines = [], requestId } = describe(error);
  const id = requestId ? `request ${requestId}` : "";
  return [code ? `${title} (${code})` : title, ...lines, id].filter(Boolean).join(" · ");
}

/** @param {any} data */
function details(data) {
  if (!data) return [];
  if (Array.isArray(data)) return data.map((fault) => `${fault.instancePath} ${fault.message}`);
  const lines = [];
  if (typeof data.reason === "string") lines.push(data.reason);
  if (typeof data.protection?.reason === "string") lines.push(`Reason of the protection: ${data.protection.reason}`);
  if (Array.isArray(data.allowed_operations)) {
    lines.push(`Allowed now: ${data.allowed_operations.join(", ") || "nothing"}`);
  }
  if (data.pending_operation) {
    const { operation, started_at: since } = data.pending_operation;
    lines.push(`Pending: ${operation}, since ${since}`);
  }
  return lines;
}
