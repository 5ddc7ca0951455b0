"""BLAS on one thread, and threads of our own above it.

Two threads of BLAS wait for each other in every product. Where another process holds one of the cores each wait lasts
until the system gives that core back, so that thousands of small products took 4 to 13 times as long, not twice
(notes/benchmarks.md). Here BLAS has one thread, and threads of our own take whole blocks of rows: none waits for
another before the end of a pass.

The limit of BLAS belongs to the process, so it is counted: the first that wants one thread sets it, the last restores
what was found. Where BLAS has one thread already (OMP_NUM_THREADS=1, a worker process, a caller's `threadpool_limits`,
a thread of ours) there is one thread here as well.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController, threadpool_limits

__all__ = ["Team", "cores", "one_blas_thread", "own_threads", "pin_blas"]

Room = TypeVar("Room")

_PINNED: set[int] = set()


def pin_blas() -> None:
    """Pin BLAS to one thread in this process, for good, the first time it is called there.

    A process that needs its threads back calls what pins it inside `one_blas_thread` or `threadpool_limits`.
    """
    # A forked process inherits the set, not the limit: its number is another.
    if os.getpid() not in _PINNED:
        threadpool_limits(limits=1, user_api="blas")
        _PINNED.add(os.getpid())


def cores() -> int:
    """Cores that this process may use, at least 1: those of its affinity mask where the system has one.

    >>> 1 <= cores() <= os.cpu_count()
    True
    """
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Limit:
    """One BLAS thread while anyone holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._found: list[tuple[Any, int]] = []

    @contextmanager
    def held(self) -> Iterator[int]:
        """BLAS on one thread; gives the number of threads that it leaves to whoever holds the limit."""
        with self._lock:
            libraries = _libraries()
            found = [(library, library.num_threads) for library in libraries]
            numbers = [number for _, number in found] or [1]
            counted = max(numbers) > 1 or self._holders > 0  # else a limit that is not ours: nothing to give back
            if max(numbers) > 1:
                self._found = found
                for library in libraries:
                    library.set_num_threads(1)
            self._holders += counted
        try:
            yield min(*numbers, cores())
        finally:
            with self._lock:
                self._holders -= counted
                if counted and self._holders == 0:
                    for library, number in self._found:
                        library.set_num_threads(number)


_LIMIT = _Limit()


@functools.cache
def _libraries() -> list[Any]:
    """The BLAS libraries of this process. Found once: that takes longer than many a solve."""
    import scipy.linalg  # noqa: F401  its BLAS need not be NumPy's, and a library loaded later would not be found

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS on one thread in this process until the last such context ends, however they overlap.

    >>> with one_blas_thread(), own_threads() as team:
    ...     team.size
    1
    """
    with _LIMIT.held():
        yield


class Team:
    """Threads of our own, at most `size`, of which the calling thread is one; made by `own_threads`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._executor: ThreadPoolExecutor | None = None

    def in_order(
        self,
        count: int,
        compute: Callable[[int, Room], None],
        add: Callable[[Room], None],
        room: Callable[[], Room],
        threads: int,
    ) -> None:
        """compute(index, room) for index = 0 .. count - 1 by whichever thread is free, add(room) in that order.

        What add sums up is so the same, bit for bit, on any number of threads. room() makes room for one result: there
        are at most size + 1. threads: so many at the most. Where a helper gets no core, the caller does all the work
        and waits for nothing.

        >>> total = []
        >>> with own_threads() as team:
        ...     team.in_order(3, lambda index, room: room.append(index), lambda room: total.append(room.pop()), list, 2)
        >>> total
        [0, 1, 2]
        """
        workers = max(1, min(self.size, count, threads))
        if workers == 1:
            place = room()
            for index in range(count):
                compute(index, place)
                add(place)
            return
        work = _Pass(count, compute, add, [room() for _ in range(workers + 1)])
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.size - 1, thread_name_prefix="iclglass")
        # NumPy's errstate is a context's: a helper's sums overflow as quietly as its caller's.
        helpers = [self._executor.submit(contextvars.copy_context().run, work.run) for _ in range(workers - 1)]
        try:
            work.run()
        finally:
            begun = [helper for helper in helpers if not helper.cancel()]
            wait(begun)
        for helper in begun:
            helper.result()

    def close(self) -> None:
        """End the threads."""
        if self._executor is not None:
            self._executor.shutdown()


class _Pass:
    """The blocks of one pass: what every thread of a team runs until none is left."""

    def __init__(
        self, count: int, compute: Callable[[int, Any], None], add: Callable[[Any], None], rooms: list[Any]
    ) -> None:
        self._count, self._compute, self._add = count, compute, add
        self._next = itertools.count()  # next() is one step for all threads
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for room in rooms:
            self._free.put(room)
        self._lock = threading.Lock()
        self._computed: dict[int, Any] = {}
        self._added = 0

    def run(self) -> None:
        # Room first, then a number: the lowest block that is not added always has room, so the others' rooms come free.
        try:
            while True:
                room = self._free.get()
                index = next(self._next)
                if index >= self._count:
                    self._free.put(room)
                    return
                self._compute(index, room)
                with self._lock:
                    self._computed[index] = room
                    while self._added in self._computed:
                        done = self._computed.pop(self._added)
                        self._add(done)
                        self._added += 1
                        self._free.put(done)
        except BaseException:  # an interrupt as well: the other threads must end
            self._count = 0
            self._free.put(None)
            raise


_OF_THREAD = threading.local()


@contextmanager
def own_threads() -> Iterator[Team]:
    """BLAS on one thread, and a team of as many threads as BLAS had, at most one for each core.

    Within it the same thread gets the same team again. A second thread meanwhile gets a team of one.

    >>> with own_threads() as team, own_threads() as again:
    ...     team is again, 1 <= team.size <= cores()
    (True, True)
    """
    known: Team | None = getattr(_OF_THREAD, "team", None)
    if known is not None:
        yield known
        return
    with _LIMIT.held() as size:
        team = _OF_THREAD.team = Team(size)
        try:
            yield team
        finally:
            _OF_THREAD.team = None
            team.close()
