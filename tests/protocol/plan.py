"""Which parts of the model's behaviour are searched, and the mistakes that Spin has to find."""

from dataclasses import replace

from protocol.spin import Configuration


def _configuration(name: str, *, liveness: bool = False, **macros: int) -> Configuration:
    return Configuration(name, tuple((key.upper(), value) for key, value in macros.items()), liveness)


def _long(name: str, *, liveness: bool = False, **macros: int) -> Configuration:
    return replace(_configuration(name, liveness=liveness, **macros), optimized=True)


_ALONE = _configuration("a caller and a sweep, two claims", callers=1, claims=2)
_EVENTS = _configuration("and the handler of events, one claim and a fault", callers=1, handlers=1, claims=1)
_EVENTS_ONLY = _configuration("and the handler of events, no faults", callers=1, handlers=1, claims=1, faults=0)
_SETTLES = _configuration("every operation settles, no faults", callers=1, claims=1, faults=0, liveness=True)

QUICK = (_ALONE, _EVENTS_ONLY, _SETTLES)

COMPLETE = (
    *QUICK,
    _long("a caller and a sweep, two faults", callers=1, claims=2, faults=2),
    _long("two callers and a sweep, two claims", callers=2, claims=2),
    _long("a caller and a sweep, any number of claims", callers=1),
    _long("and the handler of events, two claims", callers=1, handlers=1, claims=2),
    _long("every operation settles, two claims and a fault", callers=1, claims=2, liveness=True),
)

_SUPERSEDING = _configuration("two callers, no sweep", callers=2, sweeps=0, claims=2)
_HANDLING = _configuration("a caller and the handler of events", callers=1, sweeps=0, handlers=1, claims=2)

FAULTS = {
    "FAULT_RUN_UNCHECKED": _ALONE,  # RunTask although another entry is not proven ended
    "FAULT_GIVE_UP_FORGETS": _ALONE,  # an operation that is given up removes entries without an ARN
    "FAULT_ONE_LOOK": _ALONE,  # a task counts as gone after one lookup
    "FAULT_SEARCH_EARLY": _ALONE,  # a token counts as unused although a driver may still call RunTask with it
    "FAULT_UNCONDITIONAL": _ALONE,  # a worker commits although the item has changed since it was read
    "FAULT_NO_SWEEP_OF_FAILED": _ALONE,  # no sweep ends the entries of a failed container
    "FAULT_PLACEMENT_PROVES": _SUPERSEDING,  # PlacementError removes a token that another driver can still use
    "FAULT_HANDLER_UNNOTED": _HANDLING,  # a handler calls RunTask, and the claimer believes to be the only one
    "FAULT_EVENT_IS_SIGHTING": _EVENTS,  # an event counts as a lookup that has found the task
}
"""The macro of each mistake, and the configuration that finds it."""
