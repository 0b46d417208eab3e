/* The steps of a worker, as in engine/driver.py and engine/steps.py: decide, call, write. Included by container.pml. */

/* --- writes of the item ------------------------------------------------------------------------------------------- */

inline read(w) { fresh = fresh | BIT(w) }
inline written(w) { fresh = BIT(w) }
inline end_operation() {
  op = idle; token = NONE; overdue = false; sole = false; step = ending;
  mine = 0
}
inline forget(w) { fresh = fresh & ~BIT(w); mine = mine & ~BIT(w) }

/* Remove an entry. Nothing alive may be removed, nor a token that may still run a task. */
inline remove(t) {
  assert(!LIVE(t));
  ledger[t].listed = false; ledger[t].may = false; ledger[t].arn = false; ledger[t].shown = false;
  ledger[t].absent = false; late[t] = false; old[t] = false;
  if
  :: UNUSED(t) -> task[t] = unborn; visible[t] = false; was_up[t] = false
  :: else
  fi
}

/* Choose a token that stands for a new one, and add it to the ledger. `called`: whether RunTask may follow at once. */
inline add(t, called) {
  if
  :: UNUSED(0) -> t = 0
  :: UNUSED(1) && !UNUSED(0) -> t = 1
#if TOKENS > 2
  :: UNUSED(2) && !UNUSED(0) && !UNUSED(1) -> t = 2
#endif
  fi;
  task[t] = unborn; visible[t] = false; was_up[t] = false; late[t] = false; old[t] = false;
  ledger[t].listed = true; ledger[t].may = called
}
#if TOKENS > 2
#define CAN_ADD (UNUSED(0) || UNUSED(1) || UNUSED(2))
#else
#define CAN_ADD (UNUSED(0) || UNUSED(1))
#endif

/*
 * The row that a commit writes: its from_status is the status that the worker has read, `from`. Rows form a chain if it
 * equals the item's status.
 */
inline row(from, to) {
  assert(from == status);
  status = to;
  assert(status != stopped || (LIVE_TASKS == 0))
}

/* --- decisions ---------------------------------------------------------------------------------------------------- */

/*
 * Decide on the next call from the item as just read. Entries that are not the operation's own are ended first.
 * Without an operation, the entries of a failed container are ended, and the task of a running one is looked at.
 */
inline decide() {
  act = nothing; t = NONE; seen = unknown; from = status;
  if
  :: !(mine & BIT(w)) -> skip
  :: (mine & BIT(w)) && op == idle && status == running ->
       if
       :: ledger[0].listed -> t = 0
       :: ledger[1].listed -> t = 1
       :: ledger[2].listed -> t = 2
       fi;
       act = describe
#ifdef FAULT_RUN_UNCHECKED
  :: (mine & BIT(w)) && step == starting && !ledger[token].arn && OTHERS(token) -> t = token; act = run_task
#endif
  :: (mine & BIT(w)) && !(op == idle && status == running) && OTHERS((op == start || op == restart -> token : NONE)) ->
       if
       :: ledger[0].listed && !OWN(0) -> t = 0
       :: ledger[1].listed && !OWN(1) -> t = 1
       :: ledger[2].listed && !OWN(2) -> t = 2
       fi;
       if
       :: ledger[t].arn -> act = stop_task
       /* A repeated token returns the superseded start's task. Nothing else may be alive, as it may also run it. */
       :: !ledger[t].arn && op == force_stop && !OTHERS(t) && !old[t] -> act = run_task
       :: !ledger[t].arn && !(op == force_stop && !OTHERS(t) && !old[t]) -> act = search
       fi
  :: (mine & BIT(w)) && op != idle && step == ending && !OTHERS((op == restart -> token : NONE)) -> act = commit
  :: (mine & BIT(w)) && op != idle && step == starting && !OTHERS(token) ->
       t = token;
       if
       :: ledger[t].arn -> act = describe
       :: !ledger[t].arn && !old[t] -> act = run_task
       :: !ledger[t].arn && old[t] -> act = search
       fi
  :: (mine & BIT(w)) && op == idle && status != running && EMPTY -> skip
  fi;
  if
  :: act == run_task ->
       holders[t] = holders[t] | BIT(w);
       /* The handler of an event notes that it acts: the claimer can no longer say that nothing happened. */
       if
#ifndef FAULT_HANDLER_UNNOTED
       :: role == 2 && sole -> sole = false; written(w)
#endif
       :: else
       fi
  :: else
  fi
}

/* End: a crash, an answer, or a 202 that leaves the operation to the sweep. */
inline leave() {
  if
  :: act == run_task -> holders[t] = holders[t] & ~BIT(w)
  :: else
  fi;
  forget(w); act = nothing; t = NONE; seen = unknown; from = stopped; clean = true;
}

inline took(operation, next) {
  op = operation; step = next; overdue = false;
  mine = BIT(w); written(w);
  clean = true; COUNT_CLAIM;
  printf("%d claim %e %d\n", w, operation, token)
}

/* A caller requests an operation: the read and the conditional write of the claim. */
inline claim() {
  if
  :: op == idle && status == stopped && CAN_ADD -> add(token, true); sole = true; took(start, starting)
  :: op == idle && status != running && CAN_ADD -> add(token, true); sole = true; took(restart, starting)
  :: op == idle && status == running && CAN_ADD -> add(token, false); sole = true; took(restart, ending)
  :: op == idle && status == running -> took(stop, ending)
  :: (op == idle && status != stopped) || op == start || op == stop || op == restart ->
       /* Supersedes the pending operation. The token of a restart whose task before has not ended was never used. */
       if
       :: op == restart && !ledger[token].may -> remove(token)
       :: else
       fi;
       token = NONE; sole = false;
       took(force_stop, ending)
  fi
}

/* Write what was received, on the condition that the item is as it was read. */
inline apply() {
  if
  /* --- the end of an operation, or its next step */
  :: act == commit && op == restart ->
       row(from, stopped); step = starting; overdue = false; ledger[token].may = true; written(w);
       printf("%d commit stopped\n", w)
  :: act == commit && op != restart ->
       row(from, stopped); assert(EMPTY); end_operation(); written(w);
       printf("%d commit stopped\n", w)
  :: act == give_up ->
       if
       :: op == restart && !ledger[token].may -> remove(token)
       :: else
       fi;
#ifdef FAULT_GIVE_UP_FORGETS
       if
       :: ledger[0].listed && !ledger[0].arn -> ledger[0].listed = false; ledger[0].may = false; ledger[0].absent = false
       :: else
       fi;
       if
       :: ledger[1].listed && !ledger[1].arn -> ledger[1].listed = false; ledger[1].may = false; ledger[1].absent = false
       :: else
       fi;
#endif
       row(from, failed); end_operation(); written(w);
       printf("%d commit failed\n", w)
  /* --- what ECS has answered */
  :: seen == created ->
       ledger[t].arn = true; ledger[t].absent = false; written(w);
       printf("%d note task %d\n", w, t)
  :: seen == refused ->
       if
       /* No task exists, and nobody else can use the token: the start had no effect. */
       :: OWN(t) && sole && role == 0 && clean && op == start ->
            remove(t); end_operation(); written(w); printf("%d abandon\n", w)
       :: OWN(t) && sole && role == 0 && clean && op == restart ->
            remove(t); row(from, failed); end_operation(); written(w); printf("%d commit failed\n", w)
#ifdef FAULT_PLACEMENT_PROVES
       :: !OWN(t) -> remove(t); written(w)
#endif
       :: else -> mine = mine & ~BIT(w)
       fi
  :: seen == is_up || seen == reported_up ->
       if
       :: OWN(t) && step == starting && !OTHERS(t) ->
            ledger[t].shown = ledger[t].shown || SIGHTING; ledger[t].absent = false;
            assert(was_up[t] && LIVE_TASKS <= 1);
            row(from, running); end_operation(); written(w);
            printf("%d commit running\n", w)
       :: else ->
            if
            :: ledger[t].absent || !ledger[t].arn || (!ledger[t].shown && SIGHTING) ->
                 ledger[t].arn = true; ledger[t].shown = ledger[t].shown || SIGHTING; ledger[t].absent = false; written(w)
            :: else
            fi;
            if
            :: op == idle -> mine = mine & ~BIT(w)
            :: else
            fi
       fi
  :: seen == in_transition ->
       if
       :: ledger[t].absent || !ledger[t].arn || !ledger[t].shown ->
            ledger[t].arn = true; ledger[t].shown = true; ledger[t].absent = false; written(w)
       :: else
       fi;
       mine = mine & ~BIT(w)
  :: seen == has_ended || (MISSING && GONE(t)) ->
       if
       :: OWN(t) && step == starting ->
            remove(t); row(from, failed); end_operation(); written(w); printf("%d commit failed\n", w)
       :: op == idle && status == running ->
            remove(t);
            if
            :: row(from, stopped); printf("%d commit stopped\n", w)
            :: row(from, failed); printf("%d commit failed\n", w)
            fi;
            written(w)
       :: else -> remove(t); written(w); printf("%d note ended %d\n", w, t)
       fi
  :: else ->
       assert(MISSING);
       if
       :: !ledger[t].absent -> ledger[t].absent = true; written(w); printf("%d note absent %d\n", w, t)
       :: else
       fi;
       mine = mine & ~BIT(w)
  fi
}

/* One call to ECS, with its reply. */
inline call() {
  if
  :: act == run_task ->
       holders[t] = holders[t] & ~BIT(w);
       if
       :: process_run(t); seen = created; printf("%d run_task %d created\n", w, t)
       :: task[t] == unborn && faults > 0 -> faults--; seen = refused; printf("%d run_task %d refused\n", w, t)
       :: faults > 0 -> faults--; clean = false; process_run(t); printf("%d run_task %d lost\n", w, t)
       :: faults > 0 && task[t] == unborn ->
            faults--; clean = false; run_in_flight[t] = true; printf("%d run_task %d late\n", w, t)
       fi
  :: act == stop_task ->
       if
       :: task[t] == ended && visible[t] -> seen = has_ended; printf("%d stop_task %d STOPPED\n", w, t)
       :: task[t] != ended -> visible[t] = true; process_stop(t); act = describe; printf("%d stop_task %d\n", w, t)
       :: !visible[t] -> seen = missing; printf("%d stop_task %d missing\n", w, t)
       :: faults > 0 && task[t] != ended ->
            faults--; stop_in_flight[t] = true; act = describe; printf("%d stop_task %d late\n", w, t)
       fi
  :: act == describe || act == search ->
       if
       :: task[t] == up -> visible[t] = true; seen = is_up; printf("%d %e %d RUNNING\n", w, act, t)
       :: task[t] == ended -> visible[t] = true; seen = has_ended; printf("%d %e %d STOPPED\n", w, act, t)
       :: task[t] == pending || task[t] == stopping ->
            visible[t] = true; seen = in_transition; printf("%d %e %d transition\n", w, act, t)
       :: task[t] == unborn || !visible[t] -> seen = (late[t] -> missing_late : missing); printf("%d %e %d missing\n", w, act, t)
       :: task[t] != unborn && visible[t] && !ledger[t].absent && faults > 0 ->
            faults--; seen = (late[t] -> missing_late : missing); printf("%d %e %d missing\n", w, act, t)
       fi
  fi
}

