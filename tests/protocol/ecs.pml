/* ECS and the time: what the workers cannot decide. Included by container.pml. */

/* RunTask at ECS. A token that ECS knows returns its task. */
inline process_run(t) {
  if
  :: task[t] == unborn ->
       assert(LIVE_TASKS == 0);    /* at most one live task, at the moment when RunTask creates one */
       assert(ledger[t].listed);   /* nothing alive is absent from the ledger */
       task[t] = pending;
       visible[t] = false
  :: else
  fi
}

inline process_stop(t) {
  if
  :: task[t] == pending || task[t] == up -> task[t] = stopping
  :: else
  fi
}

proctype Task(byte t) {
end:
  do
  :: atomic { run_in_flight[t] -> run_in_flight[t] = false; process_run(t); printf("ecs late run_task %d\n", t) }
  :: atomic { stop_in_flight[t] -> stop_in_flight[t] = false; process_stop(t); printf("ecs late stop_task %d\n", t) }
  :: atomic { task[t] != unborn && !visible[t] -> visible[t] = true }
  :: atomic { task[t] == pending -> task[t] = up; was_up[t] = true; printf("ecs task %d RUNNING\n", t) }
  :: atomic { task[t] == stopping -> task[t] = ended; printf("ecs task %d STOPPED\n", t) }
  :: atomic { (task[t] == pending || task[t] == up) && exits > 0 ->
       exits--; task[t] = ended; printf("ecs task %d exits\n", t) }
  od
}

/* The deadline of the pending operation. The worker before may still be running: nothing relies on its end. */
proctype Deadline() {
end:
  do
  :: atomic { op != idle && !overdue && TIME_PASSES -> overdue = true; printf("time deadline\n") }
  od
}

/*
 * The age of a client token. After fifty minutes, no function begins to call RunTask with it. Five minutes since the last moment at which RunTask may have been called with the token. All functions of that time
 * have ended.
 */
proctype Age(byte t) {
end:
  do
  :: atomic { FIFTY_MINUTES(t) -> old[t] = true; printf("time old %d\n", t) }
  :: atomic {
       FIVE_MINUTES(t) && mine == 0 -> late[t] = true; printf("time five minutes %d\n", t)
     }
  od
}

