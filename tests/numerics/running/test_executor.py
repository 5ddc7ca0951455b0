"""An engine as an executor: results as they are, and news of the engine for who waits."""

from concurrent.futures import Future

import pytest

import iclglass.numerics.running.executor as module
from iclglass.numerics.errors import WorkerError
from iclglass.numerics.running.engines import make_engine
from iclglass.numerics.running.executor import EngineExecutor


def test_results_and_errors_are_those_of_the_work():
    with make_engine(None, workers=None) as engine:
        executor = EngineExecutor(engine, pytest.fail)
        assert executor.submit(abs, -3).result() == 3
        with pytest.raises(TypeError):
            executor.submit(abs, "x").result()
        with pytest.raises(TimeoutError, match="the work's own"):
            executor.submit(raises, TimeoutError("the work's own")).result()


def raises(error):
    raise error


class Idle:
    """Takes work that nobody does."""

    def __init__(self):
        self.futures, self.news = [], [None, "no workers yet", None]

    def submit(self, function, payload):
        self.futures.append(Future())
        return self.futures[-1]

    def check(self):
        if not self.news:
            raise WorkerError("no worker came")
        return self.news.pop(0)


def test_who_waits_is_told_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    said, engine = [], Idle()
    waiting = EngineExecutor(engine, said.append).submit(abs, 1)
    with pytest.raises(WorkerError, match="no worker came"):
        waiting.result()
    assert said == ["no workers yet"]
    assert waiting.cancel()
    assert engine.futures[0].cancelled()
