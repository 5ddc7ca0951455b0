"""The driver: every point once, dead workers found out, Ctrl-C, on engines that are real or made up."""

import functools
import math
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import iclglass.validation.sweeping.driver as driver
from iclglass.numerics.errors import WorkerError
from iclglass.numerics.fixed_point import Status
from iclglass.validation.sweeping.checkpoint import Checkpoint, open_checkpoint
from iclglass.validation.sweeping.driver import run_points
from iclglass.validation.sweeping.engines import make_engine
from tests.validation.sweeping.killing import PATIENCE, at_most
from tests.validation.sweeping.workloads import (
    NAMES,
    at,
    interrupting,
    napping,
    numbered,
    numbered_points,
)

LOOKS = [1.0, 0.0002]
"""Seconds between two looks at the engine: longer than a point takes, and shorter."""


def compute(points, function, executor=None, *, workers=None, patience=PATIENCE, progress=None):
    """What a sweep without a file finds, and what it says."""
    said = []
    with (
        at_most(patience),
        open_checkpoint(None, {}, points=len(points), columns=NAMES) as checkpoint,
        make_engine(executor, workers=workers) as engine,
    ):
        run_points(points, function=function, checkpoint=checkpoint, engine=engine, progress=progress, say=said.append)
    return checkpoint.done, said


def assert_all_but(done, points, *, lost=()):
    """Each point has its own values; those in ``lost``, by task diversity, have none and say why."""
    assert sorted(done) == list(range(len(points)))
    for number, found in done.items():
        if points[number].task_diversity in lost:
            assert found.status == Status.LOST
            assert found.message
            assert all(math.isnan(value) for value in found.values)
            assert len(found.values) == len(NAMES)
        else:
            assert found == numbered(points[number])


def brief(point):
    time.sleep(0.005)
    return numbered(point)


class KilledWorker(Exception):
    """As Dask's is called."""


class MadeUpEngine:
    """Finishes points in an order of its own. Some are poison: as in a pool they take all others in flight with them;
    ``neighbours``: as on Dask the two that wait beside them, while all others go on."""

    name = "made up"

    def __init__(self, *, window=4, poison=(), restarts=True, neighbours=False):
        self.window, self.poison, self.restarts, self.neighbours = window, poison, restarts, neighbours
        self.flying, self.submitted, self.starts, self.most = [], [], 0, 0
        self.futures, self.struck, self.company = [], set(), 0
        self.worker, self.lock, self.broken = ThreadPoolExecutor(1), threading.Lock(), False

    def submit(self, function, payload):
        future, number = Future(), payload.task_diversity
        with self.lock:
            unfinished = {other for one, other in self.futures if not one.done()}
            if self.struck & (unfinished | {number}):
                self.company = max(self.company, len(unfinished))
            if self.broken:
                future.set_exception(BrokenExecutor("a worker died"))
                return future
            self.futures.append((future, number))
            self.flying.append((future, function, payload))
            self.most = max(self.most, len(self.flying))
        self.submitted.append(number)
        self.worker.submit(self.work)
        return future

    def work(self):
        """One point: the first that came, or the last."""
        time.sleep(0.001)
        with self.lock:
            if not self.flying:  # gone with others
                return
            future, function, payload = self.flying.pop(0 if self.neighbours else -1)
            gone = []
            if payload.task_diversity in self.poison:
                beside = 2 if self.neighbours else len(self.flying)
                gone, self.flying = [(future, function, payload), *self.flying[:beside]], self.flying[beside:]
                self.broken = not self.neighbours
                self.struck |= {one.task_diversity for _, _, one in gone}
                self.futures = [pair for pair in self.futures if pair[0] not in {one for one, _, _ in gone}]
        if not gone:
            future.set_result(function(payload))
        error = KilledWorker("workers died") if self.neighbours else BrokenExecutor("a worker died")
        for one, _, _ in gone:
            one.set_exception(error)

    def cancel(self, future):
        return False

    def restart(self):
        self.starts += 1
        self.broken = False
        return self.restarts

    def check(self):
        pass

    def close(self, *, wait):
        pass


def run_made_up(engine, count, **options):
    checkpoint = Checkpoint(None, None, {})
    with at_most(30):
        run_points(numbered_points(count), function=numbered, checkpoint=checkpoint, engine=engine, **options)
    return checkpoint.done


# --- every point once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 4, 100])
def test_every_point_is_computed_once_with_few_in_flight(window):
    engine, points, seen = MadeUpEngine(window=window), numbered_points(23), []
    done = run_made_up(engine, 23, progress=lambda finished, total: seen.append((finished, total)))
    assert_all_but(done, points)
    assert sorted(engine.submitted) == list(range(1, 24))
    assert engine.most <= window
    assert seen[0] == (0, 23)
    assert seen[-1] == (23, 23)
    assert seen == sorted(seen)


def test_finished_points_are_not_computed_again():
    points = numbered_points(5)
    before = {number: numbered(points[4 - number]) for number in (1, 3)}  # not what would be computed
    checkpoint, computed = Checkpoint(None, None, dict(before)), []

    def noted(point):
        computed.append(point.task_diversity)
        return numbered(point)

    with make_engine(None, workers=None) as engine:
        run_points(points, function=noted, checkpoint=checkpoint, engine=engine)
    assert computed == [1.0, 3.0, 5.0]
    assert {number: checkpoint.done[number] for number in before} == before


def test_a_function_that_raises_loses_its_point_alone():
    points = numbered_points(6)
    for executor in (None, ThreadPoolExecutor(2)):
        done, _ = compute(points, at([3], "raises"), executor)
        assert_all_but(done, points, lost=[3])
        assert done[2].message == "RuntimeError: no result at 3"


def test_blas_has_one_thread_while_a_sweep_runs_and_its_own_afterwards():
    def threads():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    during = []

    def noted(point):
        during.extend(threads())
        return numbered(point)

    with threadpool_limits(limits=2, user_api="blas"):  # the environment may have asked for one
        before = threads()
        compute(numbered_points(1), noted)
        assert threads() == before
    assert during
    assert set(during) == {1}


# --- dead workers, made up --------------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [(1,), (7,), (12,), (5, 6), (1, 12), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("look", LOOKS)
def test_who_kills_the_workers_is_found_and_nobody_else_is_lost(poison, window, look, monkeypatch):
    monkeypatch.setattr(driver, "_LOOK_SECONDS", look)
    engine, said = MadeUpEngine(window=window, poison=poison), []
    done = run_made_up(engine, 12, say=said.append)
    assert_all_but(done, numbered_points(12), lost=poison)
    # each is convicted after two deaths while it was alone, and there are no more deaths than that and the first ones
    assert sum("kills its worker" in sentence for sentence in said) == len(poison)
    assert 2 * len(poison) <= engine.starts <= 3 * len(poison) + 1
    assert engine.company == 0  # a suspect is alone


@pytest.mark.parametrize("poison", [(1,), (6,), (12,), (5, 6), (1, 4, 12), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("look", LOOKS)
def test_who_kills_the_workers_is_found_where_the_others_go_on(poison, look, monkeypatch):
    monkeypatch.setattr(driver, "_LOOK_SECONDS", look)
    engine = MadeUpEngine(window=6, poison=poison, neighbours=True)
    done = run_made_up(engine, 12)
    assert_all_but(done, numbered_points(12), lost=poison)
    assert engine.starts == 0
    assert engine.company == 0


def test_the_engine_is_looked_at_while_points_come_back(monkeypatch):
    """A cluster that grows would be fed as the small one that it was."""
    monkeypatch.setattr(driver, "_LOOK_SECONDS", 0.02)
    looks = []
    with make_engine(None, workers=None) as engine:
        engine.check = lambda: looks.append(1)
        run_points(numbered_points(30), function=brief, checkpoint=Checkpoint(None, None, {}), engine=engine)
    assert len(looks) >= 3


def test_all_points_poison():
    engine = MadeUpEngine(poison=range(1, 6))
    assert_all_but(run_made_up(engine, 5), numbered_points(5), lost=range(1, 6))


def test_an_executor_that_cannot_be_restarted_is_one_error_and_what_was_finished_is_kept():
    checkpoint = Checkpoint(None, None, {})
    engine = MadeUpEngine(window=1, poison=(4,), restarts=False)
    with pytest.raises(WorkerError, match="a worker of made up died, and with it the executor"), at_most(30):
        run_points(numbered_points(6), function=numbered, checkpoint=checkpoint, engine=engine)
    assert sorted(checkpoint.done) == [0, 1, 2]


@pytest.mark.parametrize("neighbours", [False, True])
def test_where_every_point_kills_its_worker_the_sweep_is_given_up(neighbours):
    """An hour of restarts would end in a file without a number."""
    checkpoint = Checkpoint(None, None, {})
    engine = MadeUpEngine(poison=range(1, 101), neighbours=neighbours)
    with (
        pytest.raises(WorkerError, match=r"none of the first 10 points .* worker process died"),
        at_most(30),
    ):
        run_points(numbered_points(100), function=numbered, checkpoint=checkpoint, engine=engine)
    assert len(checkpoint.done) == 10


def test_a_sweep_with_one_good_point_is_not_given_up():
    engine = MadeUpEngine(poison=range(2, 31))
    assert_all_but(run_made_up(engine, 30), numbered_points(30), lost=range(2, 31))


def test_what_arrives_beside_a_dropped_point_is_kept():
    """A scheduler that goes cancels what it has; what it had sent by then is finished."""
    checkpoint = Checkpoint(None, None, {})
    engine = MadeUpEngine()

    def submit(function, payload):
        future = Future()
        if payload.task_diversity == 2:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_result(function(payload))
        return future

    engine.submit = submit
    with pytest.raises(WorkerError, match=r"made up has dropped a point .* what was finished is kept"), at_most(30):
        run_points(numbered_points(4), function=numbered, checkpoint=checkpoint, engine=engine)
    assert sorted(checkpoint.done) == [0, 2, 3]


# --- Ctrl-C ----------------------------------------------------------------------------------------------------


@contextmanager
def interruptible():
    """Whoever runs the tests may ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_control_c_finishes_what_runs_and_starts_nothing_more():
    checkpoint, points = Checkpoint(None, None, {}), numbered_points(6)
    function = functools.partial(interrupting, (3,))
    with interruptible(), make_engine(None, workers=None) as engine:
        with pytest.raises(KeyboardInterrupt):
            run_points(points, function=function, checkpoint=checkpoint, engine=engine)
        assert sorted(checkpoint.done) == [0, 1, 2]
        run_points(points, function=numbered, checkpoint=checkpoint, engine=engine)
    assert_all_but(checkpoint.done, points)


def test_control_c_twice_stops_in_the_middle_of_a_point():
    checkpoint = Checkpoint(None, None, {})

    def twice(point):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        return numbered(point)

    with interruptible(), make_engine(None, workers=None) as engine, pytest.raises(KeyboardInterrupt):
        run_points(numbered_points(3), function=twice, checkpoint=checkpoint, engine=engine)
    assert checkpoint.done == {}


def test_control_c_at_the_last_point_is_a_finished_sweep():
    checkpoint, points = Checkpoint(None, None, {}), numbered_points(3)
    with interruptible(), make_engine(None, workers=None) as engine:
        run_points(points, function=functools.partial(interrupting, (3,)), checkpoint=checkpoint, engine=engine)
    assert_all_but(checkpoint.done, points)


def test_outside_the_main_thread_signals_are_left_alone():
    before, found = signal.getsignal(signal.SIGINT), []

    def noted(point):
        found.append(signal.getsignal(signal.SIGINT))
        return numbered(point)

    def run():
        with make_engine(None, workers=None) as engine:
            run_points(numbered_points(2), function=noted, checkpoint=Checkpoint(None, None, {}), engine=engine)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert found == [before, before]


# --- real workers ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["processes", "dask"])
def executor(request):
    if request.param == "dask":
        pytest.importorskip("distributed")
    return request.param


def worker_processes():
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


@pytest.mark.slow
@pytest.mark.parametrize(("poison", "what"), [([5], "exits"), ([5], "killed"), ([5, 6], "killed")])
def test_a_poison_point_is_lost_and_all_others_are_good(executor, poison, what):
    points = numbered_points(20)
    done, said = compute(points, at(poison, what), executor, workers=2)
    assert_all_but(done, points, lost=poison)
    reasons = {done[number - 1].message for number in poison}
    assert reasons == {"its worker process died each time (killed, or out of memory)"}
    assert sum("it is given up" in sentence for sentence in said) == len(poison)
    assert not worker_processes()


@pytest.mark.slow
def test_a_grid_of_poison_is_lost_in_bounded_time(executor):
    points = numbered_points(2)
    done, _ = compute(points, at([1, 2], "exits"), executor, workers=2, patience=2 * PATIENCE)
    assert_all_but(done, points, lost=[1, 2])


@pytest.mark.slow
def test_what_a_worker_raises_or_cannot_send_loses_its_point_alone(executor):
    points = numbered_points(8)
    done, _ = compute(points, at([3], "raises"), executor, workers=2)
    assert_all_but(done, points, lost=[3])
    assert done[2].message == "RuntimeError: no result at 3"
    if executor == "processes":  # Dask sends functions too
        done, _ = compute(points, at([3], "unpicklable"), executor, workers=2)
        assert_all_but(done, points, lost=[3])


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_point(executor):
    points, killed = numbered_points(60), []

    def progress(finished, total):
        if finished in (10, 11, 12) and not killed:
            killed.append(worker_processes()[0])
            killed[0].kill()

    done, said = compute(points, napping, executor, workers=2, progress=progress)
    assert killed
    assert_all_but(done, points)
    assert not any("given up" in sentence for sentence in said)
    assert not worker_processes()


@pytest.mark.slow
def test_all_workers_killed_at_once_cost_no_point(executor):
    points, killed = numbered_points(40), []

    def progress(finished, total):
        if 10 <= finished < 20 and not killed:
            killed.extend(worker_processes())
            for process in killed:
                process.kill()

    done, _ = compute(points, napping, executor, workers=2, progress=progress)
    assert len(killed) == 2
    assert_all_but(done, points)


@pytest.mark.slow
def test_an_error_in_the_driver_leaves_no_worker(executor):
    def progress(finished, total):
        if finished > 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compute(numbered_points(40), napping, executor, workers=2, progress=progress)
    end = time.monotonic() + 10
    while worker_processes() and time.monotonic() < end:
        time.sleep(0.1)
    assert not worker_processes()
