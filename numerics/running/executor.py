"""An engine as a `concurrent.futures.Executor`, for what is no list of tasks: products over blocks of prompts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any

from iclglass.numerics.running.engines import Engine, killed_worker

__all__ = ["EngineExecutor", "lost_with_worker"]

_LOOK_SECONDS = 1.0


def lost_with_worker(error: Exception) -> bool:
    """Whether a result cannot come because its worker died, or the scheduler is gone, which leaves it cancelled.

    >>> lost_with_worker(CancelledError()), lost_with_worker(ValueError())
    (True, False)
    """
    return isinstance(error, (BrokenExecutor, CancelledError)) or killed_worker(error)


class EngineExecutor(Executor):
    """Its workers leave Ctrl-C alone, and go with it. Who waits for a result is told what the engine has to say.

    say : called with a sentence, such as that a scheduler has no workers. A result that cannot come is a WorkerError.
    """

    def __init__(self, engine: Engine, say: Callable[[str], None]) -> None:
        self._engine, self._say = engine, say

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start fn(payload): one positional argument."""
        (payload,) = args
        return _Watched(self._engine.submit(fn, payload), self._engine, self._say)


class _Watched(Future[Any]):
    def __init__(self, future: Future[Any], engine: Engine, say: Callable[[str], None]) -> None:
        super().__init__()
        self._future, self._engine, self._say = future, engine, say

    def result(self, timeout: float | None = None) -> Any:
        """The result; timeout is not looked at: who solves waits to the end."""
        while True:
            try:
                return self._future.result(timeout=_LOOK_SECONDS)
            except TimeoutError:
                if self._future.done():  # the work's own
                    raise
            if (sentence := self._engine.check()) is not None:
                self._say(sentence)

    def cancel(self) -> bool:
        """Whether it had not begun."""
        return self._future.cancel()
