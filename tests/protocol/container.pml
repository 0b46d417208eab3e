/*
 * The core protocol of one container of kind task: claim, act, observe, commit, with the ledger of what may be alive.
 *
 * This model is written from the rules, not from the Python code. It says what the code may rely on, and Spin checks that
 * the rules suffice, in every order of the steps. `python -m protocol` runs Spin.
 *
 *   process      stands for                                             in the library
 *   Worker       one running function: a caller's request, a sweep,     engine/operations.py, engine/driver.py,
 *                or the handler of an event                             engine/sweeps.py, engine/events.py
 *   Task         ECS: the task of one client token, and calls whose     (AWS)
 *                reply was lost and that are processed later
 *   Deadline     the time after which a pending operation may be        `PendingOperation.deadline`
 *                taken over
 *   Age          a client token gets old; then ECS shows its task, and  `TOKEN_REUSED`, `UNSHOWN`, the timeouts of
 *                no function is left that may call RunTask with it      the functions
 *   Quiet        nothing else can happen: checks what must hold then
 *
 * How data is represented:
 *
 * - A conditional write requires the item as it was read. Instead of a version number, `fresh` has a bit for each worker:
 *   whether the item is still as the worker has read it. Every write clears the bits of the others. So a worker whose bit
 *   is set needs no copy of the item.
 * - `mine` has a bit for each worker: whether the operation that it drives is still the pending one. This represents the
 *   ids of operations. A worker reads it only together with the item.
 * - A client token is used again when its task has ended, it is not in the ledger, and no worker or call can still use
 *   it. So containers live for ever in a finite number of states. Claims are limited only if CLAIMS is defined.
 * - Time is abstract: Age and Deadline may happen at any time that their conditions permit.
 *
 * What the rules assume of time, and the model with them: a function that may call RunTask ends, and a RunTask whose reply
 * was lost is processed, before five minutes have passed; ECS remembers a token for longer than such a function lives;
 * ECS does not hide a task that it has shown from two lookups 30 seconds apart.
 *
 * FAULTS limits how often something fails in a run: a crash, a lost reply, a refusal by RunTask, a lookup that does not
 * find a task that was found before, an operation that is given up. The FAULT_... macros are mistakes in the protocol,
 * which Spin has to find.
 *
 * Every printf is an event of the trace: `worker event details`. See trace.py.
 */

#ifndef CALLERS
#define CALLERS 1
#endif
#ifndef SWEEPS
#define SWEEPS 1
#endif
#ifndef HANDLERS
#define HANDLERS 0
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef TOKENS
#define TOKENS 2  /* at most 3 */
#endif
#ifndef EXITS
#define EXITS 1   /* how often a task ends on its own, or before it runs */
#endif

#define WORKERS (CALLERS + SWEEPS + HANDLERS)
#define NONE 3    /* no token */
#define BIT(w) (1 << (w))

mtype:condition = { stopped, running, failed };
mtype:operation = { idle, start, stop, force_stop, restart };
mtype:phase = { ending, starting };
/* A task: not run yet; then its lastStatus. */
mtype:lifecycle = { unborn, pending, up, stopping, ended };
/* What a worker has decided to do, each one call. */
mtype:decision = { nothing, run_task, stop_task, describe, search, commit, give_up };
/* What it has received and not written yet. */
mtype:answer = { unknown, created, refused, is_up, reported_up, in_transition, has_ended, missing, missing_late };

/* --- the container's item ----------------------------------------------------------------------------------------- */

mtype:condition status = stopped;
mtype:operation op = idle;       /* the pending operation */
mtype:phase step = ending;
byte token = NONE;               /* the client token of a start or restart */
bool overdue = false;            /* its deadline has passed */
bool sole = false;               /* only the claimer can have used its token: no sweep, and no handler of an event */

/* An entry of the ledger, for each client token. */
typedef Entry {
  bool listed;   /* the entry exists */
  bool may;      /* RunTask may have been called */
  bool arn;      /* the task's ARN is known */
  bool shown;    /* ECS has shown the task; RunTask's own answer is no sighting */
  bool absent    /* a lookup did not find it, and none has found it since */
};
Entry ledger[3];

byte fresh = 0;
byte mine = 0;

/* --- ECS ---------------------------------------------------------------------------------------------------------- */

mtype:lifecycle task[3] = unborn;
bool visible[3];        /* lookups find the task; before, they may or may not */
bool was_up[3];         /* an event RUNNING exists, and may be delivered at any time */
bool run_in_flight[3];  /* a RunTask whose reply was lost will be processed */
bool stop_in_flight[3];
bool old[3];            /* fifty minutes have passed since the token was first used: no new call uses it */
bool late[3];           /* five minutes have passed since the last RunTask */
byte holders[3];        /* the workers that are about to call RunTask with the token */

byte faults = FAULTS;
byte exits = EXITS;
#ifdef CLAIMS
byte claims = CLAIMS;
#define MAY_CLAIM (claims > 0)
#define COUNT_CLAIM claims--
#else
#define MAY_CLAIM true
#define COUNT_CLAIM skip
#endif

#define LIVE(t) (task[t] == pending || task[t] == up || task[t] == stopping)
#define LIVE_TASKS (LIVE(0) + LIVE(1) + LIVE(2))
#define EMPTY (!ledger[0].listed && !ledger[1].listed && !ledger[2].listed)
/* Whether the ledger has an entry other than that of token t. */
#define OTHERS(t) ((ledger[0].listed && (t) != 0) || (ledger[1].listed && (t) != 1) || (ledger[2].listed && (t) != 2))
#define UNKNOWN_LIVE ((LIVE(0) && !ledger[0].listed) || (LIVE(1) && !ledger[1].listed) || (LIVE(2) && !ledger[2].listed))
/* Whether nothing of an earlier use of the token is left, so that it can stand for a new one. */
#define UNUSED(t) (!ledger[t].listed && !LIVE(t) && holders[t] == 0 && !run_in_flight[t] && !stop_in_flight[t])
/* Whether the token belongs to the pending operation. */
#define OWN(t) ((op == start || op == restart) && (t) == token)
/*
 * The absence rule: a lookup before and this one have not found it, and it was shown before, or five minutes had passed
 * when this lookup was sent.
 */
#if defined(FAULT_ONE_LOOK)
#define GONE(t) (ledger[t].shown || seen == missing_late)
#elif defined(FAULT_SEARCH_EARLY)
#define GONE(t) (ledger[t].absent && (ledger[t].shown || seen == missing_late || !ledger[t].arn))
#else
#define GONE(t) (ledger[t].absent && (ledger[t].shown || seen == missing_late))
#endif
/* An event proves that the task exists, but not that lookups find it from now on. */
#ifdef FAULT_EVENT_IS_SIGHTING
#define SIGHTING true
#else
#define SIGHTING (seen == is_up)
#endif
#define MISSING (seen == missing || seen == missing_late)

/* Whether the token may become too old to be used. With a known ARN, nobody calls RunTask any more. */
#define FIFTY_MINUTES(t) (ledger[t].listed && ledger[t].may && !ledger[t].arn && !old[t])
#define FIVE_MINUTES(t) (ledger[t].listed && ledger[t].may && (ledger[t].arn || old[t]) && !late[t] \
                         && holders[t] == 0 && !run_in_flight[t] && (task[t] == unborn || visible[t]))
/*
 * A sweep runs every minute, so an hour passes before it has run for ever. Weak fairness does not know this: where
 * liveness is checked, sweeps wait for what a lookup that found nothing waits for.
 */
#ifdef LIVENESS
#define WAITS(t) (ledger[t].absent && (FIFTY_MINUTES(t) || FIVE_MINUTES(t)))
#define TIME_PASSES (!WAITS(0) && !WAITS(1) && !WAITS(2))
#else
#define TIME_PASSES true
#endif

#include "ecs.pml"
#include "steps.pml"

/* --- workers ------------------------------------------------------------------------------------------------------ */

/* An event of a task arrives: its RUNNING or its STOPPED, at any time after it happened, as often as AWS likes. */
inline event(x) {
  read(w);
  if
  :: was_up[x] && ledger[x].listed && ledger[x].arn && (OWN(x) || ledger[x].absent) ->
       mine = mine | BIT(w); t = x; seen = reported_up; from = status; act = nothing;
       printf("%d event %d RUNNING\n", w, x)
  :: task[x] == ended && ledger[x].listed && ledger[x].arn ->
       mine = mine | BIT(w); t = x; seen = has_ended; from = status; act = nothing;
       printf("%d event %d STOPPED\n", w, x)
  /* The event of a task that the operation does not know asks ECS with the client token. */
  :: (was_up[x] || task[x] == ended) && ledger[x].listed && !ledger[x].arn && op != idle ->
       mine = mine | BIT(w);
       printf("%d event %d unknown\n", w, x);
       decide()
  fi
}

#define EVENT(x) ( \
  (was_up[x] && ledger[x].listed && ledger[x].arn && (OWN(x) || ledger[x].absent)) \
  || (task[x] == ended && ledger[x].listed && ledger[x].arn) \
  || ((was_up[x] || task[x] == ended) && ledger[x].listed && !ledger[x].arn && op != idle))

/* Whether the worker has nothing to do. */
#define FREE (act == nothing && seen == unknown)

/* role: 0 a caller, 1 a sweep, 2 the handler of an event. */
proctype Worker(byte w; byte role) {
  mtype:decision act = nothing;
  mtype:answer seen = unknown;
  mtype:condition from = stopped;  /* the status that it has read */
  byte t = NONE;
  bool clean = true;            /* each of its calls of RunTask was answered */

end:
  do
  :: atomic { role == 0 && FREE && MAY_CLAIM && (op == idle || op != force_stop) &&
              (CAN_ADD || status != stopped || op != idle) -> claim(); decide() }
  :: atomic { role == 1 && FREE && op != idle && overdue ->
       overdue = false; sole = false; mine = mine | BIT(w); written(w);
       printf("%d take_over\n", w); decide() }
#ifndef FAULT_NO_SWEEP_OF_FAILED
  :: atomic { role == 1 && FREE && op == idle && status == failed && !EMPTY && TIME_PASSES ->
       read(w); mine = mine | BIT(w); printf("%d sweep failed\n", w); decide() }
#endif
  :: atomic { role == 1 && FREE && op == idle && status == running &&
              ((ledger[0].listed && (task[0] != up || (faults > 0 && !ledger[0].absent))) ||
                  (ledger[1].listed && (task[1] != up || (faults > 0 && !ledger[1].absent))) ||
                  (ledger[2].listed && (task[2] != up || (faults > 0 && !ledger[2].absent)))) ->
       read(w); mine = mine | BIT(w); printf("%d sweep running\n", w); decide() }
  :: atomic { role == 2 && FREE && EVENT(0) -> event(0) }
  :: atomic { role == 2 && FREE && EVENT(1) -> event(1) }
#if TOKENS > 2
  :: atomic { role == 2 && FREE && EVENT(2) -> event(2) }
#endif
  /* The call that was decided on. */
  :: atomic { seen == unknown && (act == run_task || act == stop_task || act == describe || act == search) ->
       call();
       if
       :: seen != unknown -> act = nothing
       :: act == run_task && seen == unknown ->
            /* The reply was lost. Before a repeat, the worker reads whether the operation is still its own. */
            read(w); decide();
            if
            :: act == nothing -> leave()
            :: else
            fi
       :: act != run_task && seen == unknown -> skip  /* StopTask was accepted, or its reply was lost: look next */
       fi }
  /* The write of what was received. If the item has changed, the worker reads it again instead. */
  :: atomic { seen != unknown || act == commit || act == give_up ->
       if
#ifdef FAULT_UNCONDITIONAL
       :: (mine & BIT(w)) || !(fresh & BIT(w)) -> apply()
#else
       :: fresh & BIT(w) -> apply()
#endif
       :: else ->
            printf("%d condition failed\n", w);
            if
            :: role == 2 -> mine = mine & ~BIT(w)  /* Its event is delivered again, perhaps at once. */
            :: else
            fi
       fi;
       read(w); decide();
       if
       :: act == nothing -> leave()
       :: else
       fi }
  /* A sweep whose attempts have run out gives the step up. What may be alive stays in the ledger. */
  :: atomic { role == 1 && seen == unknown && act != nothing && op != idle && faults > 0 && act != give_up &&
              (fresh & BIT(w)) ->
       faults--;
       if
       :: act == run_task -> holders[t] = holders[t] & ~BIT(w)
       :: else
       fi;
       act = give_up; t = NONE; seen = unknown }
  :: atomic { (act != nothing || seen != unknown) && faults > 0 -> faults--; printf("%d crash\n", w); leave() }
  od
}

/* Nothing else can happen: everything has settled, and everything that is alive is in the ledger. */
proctype Quiet() {
end:
  timeout;
  assert(!UNKNOWN_LIVE);
#if SWEEPS > 0
  assert(op == idle);
  assert(status == running || EMPTY);
  assert(status == running || LIVE_TASKS == 0);
  assert(status != running || LIVE_TASKS == 1)
#endif
}

init {
  byte n = 0;
  atomic {
    do
    :: n < CALLERS -> run Worker(n, 0); n++
    :: n >= CALLERS && n < CALLERS + SWEEPS -> run Worker(n, 1); n++
    :: n >= CALLERS + SWEEPS && n < WORKERS -> run Worker(n, 2); n++
    :: n == WORKERS -> break
    od;
    run Deadline();
    run Task(0); run Age(0);
    run Task(1); run Age(1);
#if TOKENS > 2
    run Task(2); run Age(2);
#endif
    run Quiet();
    n = 0
  }
}

#define settled (op == idle)
#define swept (!(op == idle && status == failed && !EMPTY))
/* Checked with weak fairness: every process that can continue eventually does. */
#ifdef LIVENESS
ltl settles { [] ((! settled) -> <> settled) }
#endif
#ifdef SWEPT
ltl swept_up { [] ((! swept) -> <> swept) }
#endif
