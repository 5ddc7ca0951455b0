"""The state of one long computation, kept in a store: saved now and then, and however the computation ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from iclglass.numerics.running.resuming import Program
from iclglass.numerics.running.store import Row, Store, open_store

__all__ = ["KeptState", "kept_state"]

Kept = TypeVar("Kept")
Arrays = Mapping[str, NDArray[Any]]


class KeptState(Generic[Kept]):
    """What `kept_state` opens.

    Attributes
    ----------
    found : dict
        The arrays that a former run has left, by name; none where there was none.
    store : Store
        Where they are.
    """

    def __init__(self, store: Store, arrays: Callable[[Kept], Arrays], every: float) -> None:
        self.store, self._arrays, self._every = store, arrays, every
        self.found = {str(name): row.values.copy() for name, row in store.done.items()}
        store.done.clear()  # a second copy of what may be large
        self._last: Kept | None = None
        self._saved = time.monotonic()

    def keep(self, state: Kept) -> None:
        """Take note of a state, which must not change afterwards; save it if the last time is long ago."""
        self._last = state
        if time.monotonic() - self._saved > self._every:
            self.save()

    def save(self) -> None:
        """Write the last state, if there is one."""
        if self._last is not None:
            self.store.record({name: Row(array) for name, array in self._arrays(self._last).items()})
            self._saved = time.monotonic()


@contextmanager
def kept_state(
    path: str | Path | None,
    work: str,
    parameters: Mapping[str, object],
    here: Program,
    *,
    arrays: Callable[[Kept], Arrays],
    every: float,
    fresh: bool = False,
    resume_anyway: bool = False,
) -> Iterator[KeptState[Kept]]:
    """Open the file of an unfinished computation; however the block is left, the last state is in it.

    Parameters
    ----------
    path, work, parameters, here, fresh, resume_anyway
        As in `numerics.running.store.open_store`, whose errors it raises.
    arrays : callable
        State -> arrays by name.
    every : float
        Seconds between two writings: so much a killed computation loses.
    """
    with open_store(path, work, parameters, here, fresh=fresh, resume_anyway=resume_anyway) as store:
        kept = KeptState(store, arrays, every)
        try:
            yield kept
        finally:
            kept.save()
