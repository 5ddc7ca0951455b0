"""The driver of work on a list of tasks: hands them out, records what comes back, survives the death of workers.

Results are recorded by this one thread, all of a tenth of a second in one transaction. Tasks in flight are few
(`Engine.window`), so a sweep of millions costs no memory for futures.

A worker that dies takes its pool with it, or, on Dask, the tasks that waited on it. The tasks that were in flight are
then computed one at a time: the one that kills its worker again, alone, is the cause; after that it is lost, and the
work goes on without it.

Ctrl-C once: tasks that run are finished and recorded, nothing more is started, then KeyboardInterrupt. Twice: at once;
what was recorded is kept.
"""

from __future__ import annotations

import math
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from iclglass.numerics.errors import ParameterError, WorkerError
from iclglass.numerics.running.blas import one_blas_thread
from iclglass.numerics.running.engines import Engine, killed_worker
from iclglass.numerics.running.store import Key, Row, Store
from iclglass.numerics.status import Status

__all__ = ["run"]

_LOOK_SECONDS = 1.0
"""Between two looks at the engine."""
_RECORD_SECONDS = 0.1
"""Between two transactions, each of which waits for the disk: so much, or a look, a kill loses of what was finished."""
_STRIKES = 2
"""Times that a task may kill its worker while it is alone."""
_HOPELESS = 10
"""Tasks given up before any other has finished: it is not the tasks."""
_DIED = "its worker process died each time (killed, or out of memory)"


def run(
    tasks: Mapping[Key, Any],
    function: Callable[[Any], Row],
    *,
    store: Store,
    engine: Engine,
    lost: Callable[[str], Row] | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Compute every task that the store does not hold, and record it there.

    Parameters
    ----------
    tasks : mapping
        Payloads by key.
    function : callable
        Payload -> `Row`; a function of a module, which workers import.
    store, engine : Store, Engine
        Where results go, and where they are computed.
    lost : callable or None
        Reason -> the row, of status LOST, of a task that gave none, because it raised or because its worker died each
        time. None: such a task ends the work, with its error.
    progress : callable or None
        Called with (tasks finished, tasks in all).
    say : callable or None
        Called with a sentence where something happens that the user should know of.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C.
    OutputError
        The store cannot be written.
    WorkerError
        The engine is gone.
    """
    work = _Run(tasks, function, store, engine, lost, progress, say or _silent)
    # Workers pin themselves; this process gets its threads back.
    with one_blas_thread(), _interruptible(work.stop):
        try:
            work.run()
        finally:
            work.record()


class _Run:
    def __init__(
        self,
        tasks: Mapping[Key, Any],
        function: Callable[[Any], Row],
        store: Store,
        engine: Engine,
        lost: Callable[[str], Row] | None,
        progress: Callable[[int, int], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._tasks, self._function, self._store, self._engine = tasks, function, store, engine
        self._lost_row, self._progress, self._say = lost, progress, say
        self._waiting = deque(key for key in tasks if key not in store.done)
        self._finished = len(tasks) - len(self._waiting)
        self._suspects: deque[Key] = deque()
        self._alone: Key | None = None
        self._strikes: dict[Key, int] = {}
        self._flying: dict[Future[Row], Key] = {}
        self._arrived: queue.SimpleQueue[Future[Row]] = queue.SimpleQueue()
        self._stopping = False
        self._good = any(row.status != Status.LOST for row in store.done.values())
        self._given_up = 0
        self._looked = time.monotonic()
        self._rows: dict[Key, Row] = {}
        self._recorded = -math.inf

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping = True

    def run(self) -> None:
        self._tell()
        said = False
        while self._flying or (not self._stopping and (self._suspects or self._waiting)):
            if self._stopping:
                self._cancel()  # again each time: the last workers may have gone
                if self._flying and not said:
                    self._say(f"finishing {len(self._flying)} tasks that run; Ctrl-C again stops at once")
                    said = True
            else:
                self._fill()
            self._collect()
        if self._stopping:  # after the last task too: the caller may have more to do
            raise KeyboardInterrupt

    def _fill(self) -> None:
        # A suspect runs alone, however long it takes: if its worker dies, it is known who did it.
        if self._alone is not None and self._flying:
            return
        self._alone = None
        if self._suspects:
            if not self._flying:
                self._alone = self._suspects.popleft()
                self._submit(self._alone)
            return
        window = self._engine.window
        while self._waiting and len(self._flying) < window and not self._stopping:
            self._submit(self._waiting.popleft())

    def _submit(self, key: Key) -> None:
        try:
            future = self._engine.submit(self._function, self._tasks[key])
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise ParameterError(f"the executor takes no work ({error}): give one that is not shut down") from error
        self._flying[future] = key
        future.add_done_callback(self._arrived.put)

    def _cancel(self) -> None:
        for future, key in list(self._flying.items()):
            if self._engine.cancel(future):
                self._flying.pop(future, None)
                self._waiting.append(key)

    def _collect(self) -> None:
        """Wait for a result, take all that have arrived, record them together."""
        futures = []
        with suppress(queue.Empty):
            futures.append(self._arrived.get(timeout=_LOOK_SECONDS))
        while not self._arrived.empty():
            futures.append(self._arrived.get())
        rows: dict[Key, Row] = {}
        broken, dropped, failed = None, None, None
        for future in futures:
            key = self._flying.pop(future, None)
            if key is None:  # cancelled
                continue
            row: Row | None
            try:
                row = future.result()
            except BrokenExecutor as error:
                broken = error
                row = self._struck(key)
            except CancelledError as error:
                dropped = error
                continue
            except Exception as error:
                if not killed_worker(error) and self._lost_row is None:
                    failed = error
                    continue
                row = self._struck(key) if killed_worker(error) else self._lost(key, f"{type(error).__name__}: {error}")
            if row is not None:
                rows[key] = row
        self._rows |= rows
        if not (self._flying or self._waiting) or time.monotonic() - self._recorded > _RECORD_SECONDS:
            self.record()
        self._finished += len(rows)
        if rows:
            self._tell()
        if failed is not None:
            raise failed
        lost = [row.message for row in rows.values() if row.status == Status.LOST]
        self._given_up += len(lost)
        self._good = self._good or len(rows) > len(lost)
        if lost and self._given_up >= _HOPELESS and not self._good and (self._suspects or self._waiting):
            raise WorkerError(
                f"none of the first {self._given_up} tasks could be computed, the last because: {lost[-1]}; mend that"
            )
        if dropped is not None:
            raise WorkerError(
                f"the engine {self._engine.name} has dropped a task (its scheduler is gone?)"
            ) from dropped
        if broken is not None:
            self._recover(broken)
        if time.monotonic() - self._looked > _LOOK_SECONDS:  # also while results come back: a cluster may grow
            if (sentence := self._engine.check()) is not None:
                self._say(sentence)
            self._looked = time.monotonic()

    def record(self) -> None:
        """Write what has come back since the last time."""
        rows, self._rows = self._rows, {}
        self._store.record(rows)
        self._recorded = time.monotonic()

    def _struck(self, key: Key) -> Row | None:
        """The worker of a task died: lost if that happened while it was alone, else tried alone."""
        if key == self._alone:
            self._strikes[key] = self._strikes.get(key, 0) + 1
            if self._strikes[key] >= _STRIKES:
                self._say(f"task {key} kills its worker: it is given up")
                return self._lost(key, _DIED)
        self._suspects.append(key)
        return None

    def _recover(self, error: BrokenExecutor) -> None:
        """New workers; what was in flight is suspected."""
        self._suspects.extend(self._flying.values())
        self._flying.clear()
        self._arrived = queue.SimpleQueue()
        if not self._engine.restart():
            raise WorkerError(f"a worker of {self._engine.name} died, and with it the executor") from error
        if self._suspects:
            self._say(f"a worker died; {len(self._suspects)} tasks that were in flight are tried one at a time")

    def _lost(self, key: Key, reason: str) -> Row:
        if self._lost_row is None:
            raise WorkerError(f"task {key} is lost: {reason}; take fewer workers, or smaller sizes")
        return self._lost_row(reason)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._finished, len(self._tasks))


def _silent(sentence: str) -> None:
    pass


@contextmanager
def _interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls ``stop``, the second raises KeyboardInterrupt. Elsewhere than in the main thread, where
    Python delivers signals, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
