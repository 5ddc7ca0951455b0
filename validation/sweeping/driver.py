"""The driver of a sweep: hands out points, records what comes back, survives the death of workers.

Results are recorded by this one thread, all that have arrived in one transaction. Points in flight are few
(`Engine.window`), so a sweep of millions costs no memory for futures.

A worker that dies takes its pool with it, or, on Dask, the points that waited on it. The points that were in flight are
then computed one at a time: the one that kills its worker again, alone, is the cause; after that it is lost, and the
sweep goes on without it.

Ctrl-C once: points that run are finished and recorded, nothing more is started, then KeyboardInterrupt. Twice: at once;
what was recorded is kept.
"""

from __future__ import annotations

import math
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager, suppress
from types import FrameType

from iclglass.numerics.blas import one_blas_thread
from iclglass.numerics.errors import ParameterError, WorkerError
from iclglass.numerics.fixed_point import Status
from iclglass.validation.sweeping.checkpoint import Checkpoint
from iclglass.validation.sweeping.engines import Engine, killed_worker
from iclglass.validation.sweeping.evaluation import PointResult, columns
from iclglass.validation.sweeping.points import Point

__all__ = ["run_points"]

_LOOK_SECONDS = 1.0
"""Between two looks at the engine."""
_STRIKES = 2
"""Times that a point may kill its worker while it is alone."""
_HOPELESS = 10
"""Points given up before any other has finished: it is not the points."""


def run_points(
    points: Sequence[Point],
    *,
    function: Callable[[Point], PointResult],
    checkpoint: Checkpoint,
    engine: Engine,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Compute every point that the checkpoint does not hold, and record it there.

    function : `evaluate`, or a test's. progress : called with (points finished, points in all). say : called with a
    sentence where something happens that the user should know of.

    Raises KeyboardInterrupt after Ctrl-C, OutputError where a checkpoint cannot be written,
    WorkerError where an engine is gone.
    """
    run = _Run(points, function, checkpoint, engine, progress, say or _silent)
    # Workers pin themselves; this process gets its threads back.
    with one_blas_thread(), _interruptible(run.stop):
        run.run()


class _Run:
    def __init__(
        self,
        points: Sequence[Point],
        function: Callable[[Point], PointResult],
        checkpoint: Checkpoint,
        engine: Engine,
        progress: Callable[[int, int], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._points, self._function, self._checkpoint, self._engine = points, function, checkpoint, engine
        self._progress, self._say = progress, say
        self._waiting = deque(number for number in range(len(points)) if number not in checkpoint.done)
        self._suspects: deque[int] = deque()
        self._alone: int | None = None
        self._strikes: dict[int, int] = {}
        self._flying: dict[Future[PointResult], int] = {}
        self._arrived: queue.SimpleQueue[Future[PointResult]] = queue.SimpleQueue()
        self._stopping = False
        self._good = any(found.status != Status.LOST for found in checkpoint.done.values())
        self._given_up = 0
        self._looked = time.monotonic()

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
                    self._say(f"finishing {len(self._flying)} points that run; Ctrl-C again stops at once")
                    said = True
            else:
                self._fill()
            self._collect()
        if self._suspects or self._waiting:
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

    def _submit(self, number: int) -> None:
        try:
            future = self._engine.submit(self._function, self._points[number])
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise ParameterError(f"the executor takes no work ({error}): give one that is not shut down") from error
        self._flying[future] = number
        future.add_done_callback(self._arrived.put)

    def _cancel(self) -> None:
        for future, number in list(self._flying.items()):
            if self._engine.cancel(future):
                self._flying.pop(future, None)
                self._waiting.append(number)

    def _collect(self) -> None:
        """Wait for a result, take all that have arrived, record them together."""
        futures = []
        with suppress(queue.Empty):
            futures.append(self._arrived.get(timeout=_LOOK_SECONDS))
        while not self._arrived.empty():
            futures.append(self._arrived.get())
        results, broken, dropped = [], None, None
        for future in futures:
            number = self._flying.pop(future, None)
            if number is None:  # cancelled
                continue
            found: PointResult | None
            try:
                found = future.result()
            except BrokenExecutor as error:
                broken = error
                found = self._struck(number)
            except CancelledError as error:
                dropped = error
                continue
            except Exception as error:
                # `evaluate` raises nothing: this is the engine's.
                found = self._struck(number) if killed_worker(error) else self._lost(f"{type(error).__name__}: {error}")
            if found is not None:
                results.append((number, found))
        self._checkpoint.record(results)
        if results:
            self._tell()
        lost = [found.message for _, found in results if found.status == Status.LOST]
        self._given_up += len(lost)
        self._good = self._good or len(results) > len(lost)
        if lost and self._given_up >= _HOPELESS and not self._good and (self._suspects or self._waiting):
            raise WorkerError(
                f"none of the first {self._given_up} points could be computed, the last because: {lost[-1]}; mend "
                "that, and run the same command again"
            )
        if dropped is not None:
            raise WorkerError(
                f"the engine {self._engine.name} has dropped a point (its scheduler is gone?): what was finished is "
                "kept; run the same command again"
            ) from dropped
        if broken is not None:
            self._recover(broken)
        if time.monotonic() - self._looked > _LOOK_SECONDS:  # also while points come back: a cluster may grow
            if (sentence := self._engine.check()) is not None:
                self._say(sentence)
            self._looked = time.monotonic()

    def _struck(self, number: int) -> PointResult | None:
        """The worker of a point died: lost if that happened while it was alone, else tried alone."""
        if number == self._alone:
            self._strikes[number] = self._strikes.get(number, 0) + 1
            if self._strikes[number] >= _STRIKES:
                self._say(f"point {number} kills its worker: it is given up")
                return self._lost("its worker process died each time (killed, or out of memory)")
        self._suspects.append(number)
        return None

    def _recover(self, error: BrokenExecutor) -> None:
        """New workers; what was in flight is suspected."""
        self._suspects.extend(self._flying.values())
        self._flying.clear()
        self._arrived = queue.SimpleQueue()
        if not self._engine.restart():
            raise WorkerError(
                f"a worker of {self._engine.name} died, and with it the executor: what was finished is kept; run the "
                "same command again"
            ) from error
        if self._suspects:
            self._say(f"a worker died; {len(self._suspects)} points that were in flight are tried one at a time")

    def _lost(self, reason: str) -> PointResult:
        point = self._points[0]
        nothing = (math.nan,) * len(columns(point.road, theory=point.theory, pools=point.pools))
        return PointResult(nothing, int(Status.LOST), reason, 0.0)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(len(self._checkpoint.done), len(self._points))


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
