"""The public keys at a JWKS URL. Only `tokens.py` imports this module.

The key set is fetched again after five minutes, and for an unknown `kid`. When a fetch fails, the last good key set
stays valid for an hour after its fetch, and the next fetch waits: one second, then twice as long after each further
failure, up to half a minute. A key set without a usable key is not a failure of the fetch: the provider has removed the
keys, and no token is accepted until the set has one.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt

from longshore.edge.logs import logger

_FETCH_SECONDS = 3  # for a whole fetch: address lookup, connection, TLS, headers and body
_FRESH_SECONDS = 300  # after this time, the key set is fetched again
_VALID_SECONDS = 3600  # after this time, a key set that could not be fetched again is no longer used
_UNKNOWN_KID_SECONDS = 30  # the shortest time between two fetches because of an unknown `kid`
_LONGEST_BACKOFF_SECONDS = 30


class KeySetError(Exception):
    """The key set cannot be fetched, or contains no usable key."""


class _NoUsableKeyError(KeySetError):
    """The URL returned a key set, but none of its keys is usable."""


class _Fetched(NamedTuple):
    """A key set.

    Attributes:
        keys: The usable keys, by `kid`.
        at: The time of the fetch, on the monotonic clock.
    """

    keys: dict[str, jwt.PyJWK]
    at: float


class KeySet:
    """The public keys at a JWKS URL that can verify tokens of one algorithm.

    Args:
        url: The URL of the JSON Web Key Set.
        algorithm: The algorithm of the tokens.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(self, url: str, algorithm: str, clock: Callable[[], float] = time.monotonic) -> None:
        # This class caches the parsed keys. PyJWKClient's cache has no limit for keys that cannot be fetched again.
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=_FETCH_SECONDS)
        self._algorithm = algorithm
        self._clock = clock
        self._last: _Fetched | None = None
        self._failure: str | None = None  # the reason why the last fetch failed
        self._backoff = 1
        self._retry_at = -math.inf  # no fetch before this time
        self._refetch_at = -math.inf  # no fetch because of an unknown `kid` before this time

    def find(self, kid: str) -> jwt.PyJWK | None:
        """Return the key with this id, or None if the key set does not contain it.

        Raises:
            KeySetError: No valid key set is available, or the key is unknown and the last fetch failed.
        """
        now = self._clock()
        if now >= self._retry_at:
            if self._last is None or now - self._last.at > _FRESH_SECONDS:
                self._fetch()
            elif kid not in self._last.keys and now >= self._refetch_at:
                self._refetch_at = now + _UNKNOWN_KID_SECONDS
                self._fetch()
        if self._last is None or self._clock() - self._last.at > _VALID_SECONDS:
            raise KeySetError(self._failure)
        key = self._last.keys.get(kid)
        if key is None and self._failure is not None:
            raise KeySetError(self._failure)
        return key

    def _fetch(self) -> None:
        """Fetch the key set, and store the keys or the reason of the failure."""
        try:
            keys = _usable_keys(self._download(), self._algorithm)
        except KeySetError as error:
            if isinstance(error, _NoUsableKeyError):
                self._last = None
            self._failure = str(error)
            self._retry_at = self._clock() + self._backoff
            self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF_SECONDS)
            logger.warning("key set not fetched", url=self._client.uri, reason=self._failure)
            return
        self._last = _Fetched(keys, self._clock())
        self._failure, self._backoff = None, 1

    def _download(self) -> Any:
        """Return the content at the URL within `_FETCH_SECONDS`.

        PyJWKClient's timeout limits each read of the connection but not their sum, so it runs in another thread. A
        thread that does not finish in time is abandoned, and its result is not used.

        Raises:
            KeySetError: The download failed, or took too long.
        """
        results: list[Any] = []

        def download() -> None:
            try:
                results.append(self._client.fetch_data())
            except Exception as error:
                results.append(KeySetError(f"{type(error).__name__}: {error}"))

        thread = threading.Thread(target=download, daemon=True)
        thread.start()
        thread.join(_FETCH_SECONDS)
        result = results[0] if results else KeySetError(f"no complete response within {_FETCH_SECONDS} s")
        if isinstance(result, KeySetError):
            raise result
        return result


def _usable_keys(content: Any, algorithm: str) -> dict[str, jwt.PyJWK]:
    """Return the keys of a JSON Web Key Set that can verify tokens of the algorithm, by `kid`.

    Raises:
        KeySetError: The content is not a key set, or has no such key (`_NoUsableKeyError`).
    """
    usable: dict[str, jwt.PyJWK] = {}
    rejected: dict[str, str] = {}
    members = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(members, list):
        raise KeySetError("the response is not a key set")
    for number, member in enumerate(members):
        kid = member.get("kid") if isinstance(member, dict) else None
        if not isinstance(kid, str) or not kid:
            rejected[f"#{number}"] = "no kid"
            continue
        try:
            usable.setdefault(kid, _verification_key(member, algorithm))
        except (KeySetError, jwt.PyJWTError) as error:
            rejected[kid] = str(error)
    if not usable:
        reasons = "; ".join(f"{kid}: {reason}" for kid, reason in rejected.items())
        raise _NoUsableKeyError(f"the key set contains no key for {algorithm} ({reasons or 'it is empty'})")
    if rejected:
        logger.info("keys of the key set ignored", reasons=rejected)
    return usable


def _verification_key(member: dict[str, Any], algorithm: str) -> jwt.PyJWK:
    """Return the key. Raise KeySetError if it is not meant for the algorithm, and PyJWTError if it is malformed."""
    if member.get("use", "sig") != "sig":
        raise KeySetError("its use is not sig")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeySetError("its key_ops do not include verify")
    if member.get("alg", algorithm) != algorithm:
        raise KeySetError(f"its alg is not {algorithm}")
    key = jwt.PyJWK(member, algorithm)
    key.Algorithm.prepare_key(key.key)  # checks the curve
    if too_short := key.Algorithm.check_key_length(key.key):
        raise KeySetError(too_short)
    return key
