/**
 * The types of the API's responses.
 *
 * @typedef {"stopped" | "running" | "paused" | "failed" | "expired"} Status
 * @typedef {"start" | "stop" | "force-stop" | "restart" | "pause" | "resume"} Operation
 * @typedef {"transition_time" | "created_at" | "to_status" | "from_status"} SortBy
 * @typedef {"asc" | "desc"} SortOrder
 *
 * @typedef {object} Pending
 * @property {Operation} operation
 * @property {string} started_at
 * @property {string} triggered_by
 *
 * @typedef {object} Container
 * @property {string} id
 * @property {string} project_id
 * @property {string} name
 * @property {"task" | "service"} kind
 * @property {Status} status
 * @property {string} status_since
 * @property {Operation[]} allowed_operations
 * @property {Pending | null} pending_operation
 * @property {number | null} desired_count Of a service: the number of tasks that a start restores.
 * @property {number | null} running_count Of a service: the number of running tasks.
 * @property {Record<string, string>} labels
 * @property {string | null} stop_at
 * @property {string | null} hold_until
 * @property {number | null} idle_timeout In seconds.
 * @property {string | null} idle_at
 * @property {{reason: string} | null} protection
 * @property {string} created_at
 * @property {string} updated_at
 *
 * @typedef {object} Project
 * @property {string} id
 * @property {string | null} name
 * @property {"viewer" | "operator" | "owner"} role The role of the caller.
 *
 * @typedef {{all?: true, labels?: Record<string, string>, container_ids?: string[]}} Targets Exactly one of the keys.
 *
 * @typedef {object} ScheduleSettings
 * @property {Operation} operation
 * @property {string} expression
 * @property {string} timezone
 * @property {Targets} targets
 * @property {boolean} enabled
 *
 * @typedef {object} SavedSchedule
 * @property {string} name
 * @property {string} created_by
 * @property {string} updated_at
 * @property {string[]} next_runs
 *
 * @typedef {ScheduleSettings & SavedSchedule} Schedule
 *
 * @typedef {object} StatusLog One change of status. Rows never change.
 * @property {string} id
 * @property {string} container_id
 * @property {Status | null} from_status
 * @property {Status} to_status
 * @property {string} transition_time
 * @property {string} created_at
 * @property {number | null} duration_ms
 * @property {string} triggered_by
 * @property {Record<string, unknown> | null} metadata
 *
 * @typedef {object} Pagination
 * @property {number} total
 * @property {number} page
 * @property {number} limit
 * @property {number} totalPages
 *
 * @typedef {StatusLog & {container_name: string | null}} ProjectLog A row of a project's history.
 *
 * @typedef {{logs: StatusLog[], pagination: Pagination}} LogsPage
 * @typedef {{logs: ProjectLog[], pagination: {limit: number, next_cursor: string | null}}} ProjectLogsPage
 * @typedef {{containers: Container[], pagination: Pagination}} ContainersPage
 * @typedef {{page: number, limit: number, sort_by: SortBy, sort_order: SortOrder}} LogsQuery
 *
 * @typedef {object} OperationResult
 * @property {boolean} accepted Whether the operation is pending (202).
 * @property {string} message
 * @property {Status} status
 * @property {Pending | null} pending
 * @property {string} requestId
 */

export {};
