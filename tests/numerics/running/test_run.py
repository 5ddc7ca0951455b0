"""The driver: every point once, dead workers found out, Ctrl-C, on engines that are real or made up."""

import contextlib
import functools
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import iclglass.numerics.running.run as driver
from iclglass.numerics.errors import WorkerError
from iclglass.numerics.running.engines import make_engine
from iclglass.numerics.running.run import run
from iclglass.numerics.running.store import Store
from iclglass.numerics.status import Status
from tests.numerics.running.killing import PATIENCE, at_most, wait_for
from tests.numerics.running.workloads import at, brief, compute, interrupting, napping, numbered, numbers

LOOKS = [1.0, 0.0002]
"""Seconds between two looks at the engine: longer than a point takes, and shorter."""


def compute_on(executor, tasks, function, *, workers=None, patience=PATIENCE, progress=None):
    """What work without a file finds, and what it says."""
    said = []
    with at_most(patience), make_engine(executor, workers=workers) as engine:
        return compute(tasks, function, engine, progress=progress, say=said.append), said


def assert_all_but(done, tasks, *, lost=()):
    """Each task has its own values; those in ``lost``, by number, have none and say why."""
    assert sorted(done) == sorted(tasks)
    for key, found in done.items():
        if tasks[key] in lost:
            assert found.status == Status.LOST
            assert found.message
            assert np.isnan(found.values).all()
        else:
            assert found == numbered(tasks[key])


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
        future, number = Future(), payload
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
            if payload in self.poison:
                beside = 2 if self.neighbours else len(self.flying)
                gone, self.flying = [(future, function, payload), *self.flying[:beside]], self.flying[beside:]
                self.broken = not self.neighbours
                self.struck |= {one for _, _, one in gone}
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
    with at_most(30):
        return compute(numbers(count), numbered, engine, **options)


# --- every point once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 4, 100])
def test_every_point_is_computed_once_with_few_in_flight(window):
    engine, tasks, seen = MadeUpEngine(window=window), numbers(23), []
    done = run_made_up(engine, 23, progress=lambda finished, total: seen.append((finished, total)))
    assert_all_but(done, tasks)
    assert sorted(engine.submitted) == list(range(1, 24))
    assert engine.most <= window
    assert seen[0] == (0, 23)
    assert seen[-1] == (23, 23)
    assert seen == sorted(seen)


def test_finished_tasks_are_not_computed_again():
    """Nor is what the store holds beside the tasks theirs to count."""
    tasks, computed, seen = numbers(5), [], []
    before = {1: numbered(4.0), 3: numbered(2.0), "other": numbered(0.0)}  # not what would be computed

    def noted(number):
        computed.append(number)
        return numbered(number)

    store = Store(done=dict(before))
    with make_engine(None, workers=None) as engine:
        compute(tasks, noted, engine, store=store, progress=lambda done, total: seen.append((done, total)))
    assert computed == [1.0, 3.0, 5.0]
    assert {key: store.done[key] for key in before} == before
    assert seen == [(2, 5), (3, 5), (4, 5), (5, 5)]


def test_results_of_a_moment_share_a_transaction_and_all_are_recorded():
    """Each waits for the disk; what a progress callback ends is recorded, too."""

    class Counting(Store):
        transactions = 0

        def record(self, rows):
            self.transactions += bool(rows)
            super().record(rows)

    def stop(finished, total):
        if finished == 70:
            raise ZeroDivisionError

    for progress, count in ((None, 100), (stop, 70)):
        store = Counting()
        with contextlib.suppress(ZeroDivisionError), make_engine(None, workers=None) as engine:
            compute(numbers(100), numbered, engine, store=store, progress=progress)
        assert len(store.done) == count
        assert store.transactions < 30


@pytest.mark.parametrize("threads", [0, 2])
def test_a_function_that_raises_loses_its_task_alone_or_ends_the_work(threads):
    tasks, function = numbers(6), at([3], "raises")
    executor = ThreadPoolExecutor(threads) if threads else None
    done, _ = compute_on(executor, tasks, function)
    assert_all_but(done, tasks, lost=[3])
    assert done[2].message == "RuntimeError: no result at 3"
    store = Store()
    with (
        make_engine(executor, workers=None) as engine,
        pytest.raises(RuntimeError, match=r"^no result at 3$"),
    ):
        run(tasks, function, store=store, engine=engine)
    assert 2 not in store.done
    assert threads or sorted(store.done) == [0, 1]


def test_a_task_that_kills_its_worker_ends_the_work_where_none_may_be_lost():
    store = Store()
    with pytest.raises(WorkerError, match=r"task 2 is lost: its worker process died each time"), at_most(30):
        run(numbers(6), numbered, store=store, engine=MadeUpEngine(poison=(3,)))
    assert 2 not in store.done


def test_blas_has_one_thread_while_a_sweep_runs_and_its_own_afterwards():
    def threads():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    during = []

    def noted(number):
        during.extend(threads())
        return numbered(number)

    with threadpool_limits(limits=2, user_api="blas"):  # the environment may have asked for one
        before = threads()
        compute_on(None, numbers(1), noted)
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
    assert_all_but(done, numbers(12), lost=poison)
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
    assert_all_but(done, numbers(12), lost=poison)
    assert engine.starts == 0
    assert engine.company == 0


def test_the_engine_is_looked_at_while_results_come_back_and_what_it_says_is_told(monkeypatch):
    """A cluster that grows would be fed as the small one that it was."""
    monkeypatch.setattr(driver, "_LOOK_SECONDS", 0.02)
    looks, said = [], []
    with make_engine(None, workers=None) as engine:
        engine.check = lambda: looks.append(1) or ("no workers yet" if len(looks) == 1 else None)
        compute(numbers(30), brief, engine, say=said.append)
    assert len(looks) >= 3
    assert said == ["no workers yet"]


def test_all_points_poison():
    engine = MadeUpEngine(poison=range(1, 6))
    assert_all_but(run_made_up(engine, 5), numbers(5), lost=range(1, 6))


def test_an_executor_that_cannot_be_restarted_is_one_error_and_what_was_finished_is_kept():
    store = Store()
    engine = MadeUpEngine(window=1, poison=(4,), restarts=False)
    with pytest.raises(WorkerError, match="a worker of made up died, and with it the executor"), at_most(30):
        compute(numbers(6), numbered, engine, store=store)
    assert sorted(store.done) == [0, 1, 2]


@pytest.mark.parametrize("neighbours", [False, True])
def test_where_every_point_kills_its_worker_the_sweep_is_given_up(neighbours):
    """An hour of restarts would end in a file without a number."""
    store = Store()
    engine = MadeUpEngine(poison=range(1, 101), neighbours=neighbours)
    with (
        pytest.raises(WorkerError, match=r"none of the first 10 tasks .* worker process died"),
        at_most(30),
    ):
        compute(numbers(100), numbered, engine, store=store)
    assert len(store.done) == 10


def test_a_sweep_with_one_good_point_is_not_given_up():
    engine = MadeUpEngine(poison=range(2, 31))
    assert_all_but(run_made_up(engine, 30), numbers(30), lost=range(2, 31))


def test_what_arrives_beside_a_dropped_point_is_kept():
    """A scheduler that goes cancels what it has; what it had sent by then is finished."""
    store = Store()
    engine = MadeUpEngine()

    def submit(function, payload):
        future = Future()
        if payload == 2:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_result(function(payload))
        return future

    engine.submit = submit
    with pytest.raises(WorkerError, match=r"made up has dropped a task"), at_most(30):
        compute(numbers(4), numbered, engine, store=store)
    assert sorted(store.done) == [0, 2, 3]


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


@pytest.mark.parametrize("pressed", [3, 6])
def test_control_c_finishes_what_runs_and_starts_nothing_more(pressed):
    """At the last task, too, it is raised: a caller who has more to do must not go on."""
    store, tasks = Store(), numbers(6)
    function = functools.partial(interrupting, (pressed,))
    with interruptible(), make_engine(None, workers=None) as engine:
        with pytest.raises(KeyboardInterrupt):
            compute(tasks, function, engine, store=store)
        assert sorted(store.done) == list(range(pressed))
        compute(tasks, numbered, engine, store=store)
    assert_all_but(store.done, tasks)


def test_control_c_twice_stops_in_the_middle_of_a_task():
    store = Store()

    def twice(number):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        return numbered(number)

    with interruptible(), make_engine(None, workers=None) as engine, pytest.raises(KeyboardInterrupt):
        compute(numbers(3), twice, engine, store=store)
    assert store.done == {}


def test_outside_the_main_thread_signals_are_left_alone():
    before, found = signal.getsignal(signal.SIGINT), []

    def noted(number):
        found.append(signal.getsignal(signal.SIGINT))
        return numbered(number)

    thread = threading.Thread(target=lambda: compute_on_thread(noted))
    thread.start()
    thread.join(30)
    assert found == [before, before]


def compute_on_thread(function):
    with make_engine(None, workers=None) as engine:
        compute(numbers(2), function, engine)


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
@pytest.mark.parametrize(
    ("poison", "what", "count"), [([5], "exits", 20), ([5, 6], "killed", 20), ([1, 2], "exits", 2)]
)
def test_a_poison_task_is_lost_and_all_others_are_good(executor, poison, what, count):
    tasks = numbers(count)
    done, said = compute_on(executor, tasks, at(poison, what), workers=2, patience=2 * PATIENCE)
    assert_all_but(done, tasks, lost=poison)
    reasons = {done[number - 1].message for number in poison}
    assert reasons == {"its worker process died each time (killed, or out of memory)"}
    assert sum("it is given up" in sentence for sentence in said) == len(poison)
    assert not worker_processes()


@pytest.mark.slow
def test_what_a_worker_raises_or_cannot_send_loses_its_task_alone(executor):
    tasks = numbers(8)
    for what in ("raises", "unpicklable") if executor == "processes" else ("raises",):  # Dask sends functions too
        done, _ = compute_on(executor, tasks, at([3], what), workers=2)
        assert_all_but(done, tasks, lost=[3])
        assert what != "raises" or done[2].message == "RuntimeError: no result at 3"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_workers_that_are_killed_cost_no_task(executor, count):
    tasks, killed = numbers(60), []

    def progress(finished, total):
        if 10 <= finished < 20 and not killed:
            killed.extend(worker_processes()[:count])
            for process in killed:
                process.kill()

    done, said = compute_on(executor, tasks, napping, workers=2, progress=progress)
    assert len(killed) == count
    assert_all_but(done, tasks)
    assert not any("given up" in sentence for sentence in said)
    assert not worker_processes()


@pytest.mark.slow
def test_an_error_in_the_driver_leaves_no_worker(executor):
    def progress(finished, total):
        if finished > 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compute_on(executor, numbers(40), napping, workers=2, progress=progress)
    wait_for(lambda: not worker_processes(), 10)
