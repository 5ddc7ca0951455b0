"""One BLAS thread and threads of our own: the limit is given back, blocks are added in order, nobody is waited for."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from iclglass.numerics.running import blas
from iclglass.numerics.running.blas import cores, one_blas_thread, own_threads, pin_blas
from tests.own_threads import Library

PATIENCE = 60.0  # seconds after which what should not wait does


@pytest.fixture
def libraries(monkeypatch):
    """Two BLAS libraries of four and six threads, on a machine of four cores."""
    found = [Library(4), Library(6)]
    monkeypatch.setattr(blas, "_libraries", lambda: found)
    monkeypatch.setattr(blas, "cores", lambda: 4)
    return found


def numbers(libraries):
    return [library.num_threads for library in libraries]


def real_numbers():
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


# --- the limit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [one_blas_thread, own_threads])
def test_the_real_blas_has_one_thread_and_gets_its_own_back(context):
    blas._libraries()  # loads all there are
    with threadpool_limits(limits=2, user_api="blas"):
        before = real_numbers()
        assert set(before) == {2}
        with context():
            assert set(real_numbers()) == {1}
            with context(), one_blas_thread():
                assert set(real_numbers()) == {1}
            assert set(real_numbers()) == {1}
        assert real_numbers() == before


@pytest.mark.parametrize("context", [one_blas_thread, own_threads])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_limit_is_given_back_after_an_error(libraries, context, error):
    def fails():
        with context(), context():
            assert numbers(libraries) == [1, 1]
            raise error

    with pytest.raises(error):
        fails()
    assert numbers(libraries) == [4, 6]
    with own_threads() as team:
        assert team.size == 4


def test_the_last_of_two_threads_gives_the_limit_back_whoever_began(libraries):
    """Each restoring what it found, the first to begin would give threads back early, the second would keep one."""
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert numbers(libraries) == [1, 1]
    second.__exit__(None, None, None)
    assert numbers(libraries) == [4, 6]


def test_a_limit_of_someone_elses_is_left_alone(libraries):
    for library in libraries:
        library.set_num_threads(1)
    with own_threads() as team:
        assert team.size == 1
        for library, number in zip(libraries, (4, 6), strict=True):  # their context ends within ours
            library.set_num_threads(number)
    assert numbers(libraries) == [4, 6]


# --- how many threads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "machine", "size"), [((4, 6), 8, 4), ((6, 4), 8, 4), ((4, 6), 3, 3), ((1, 6), 8, 1)]
)
def test_a_team_is_as_large_as_blas_was_and_no_larger_than_the_machine(monkeypatch, limits, machine, size):
    monkeypatch.setattr(blas, "_libraries", lambda: [Library(number) for number in limits])
    monkeypatch.setattr(blas, "cores", lambda: machine)
    with own_threads() as team:
        assert team.size == size


def test_one_library_with_threads_among_others_without_is_pinned_too(monkeypatch):
    """SciPy's BLAS, loaded when the environment allows one thread, NumPy's told two by its user."""
    libraries = [Library(1), Library(2)]
    monkeypatch.setattr(blas, "_libraries", lambda: libraries)
    with own_threads() as team:
        assert team.size == 1
        assert numbers(libraries) == [1, 1]
    assert numbers(libraries) == [1, 2]


def test_where_no_library_can_be_told_it_keeps_its_threads(monkeypatch):
    monkeypatch.setattr(blas, "_libraries", list)
    with own_threads() as team:
        assert team.size == 1


def test_cores_are_those_of_the_affinity_mask(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 6}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
def test_an_environment_that_asks_for_one_thread_gets_one(name):
    code = "from iclglass.numerics.running.blas import own_threads\nwith own_threads() as team: print(team.size)"
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, name: "1"}, capture_output=True, text=True)
    assert run.stdout == "1\n", run.stderr


def test_a_worker_process_has_one_thread(monkeypatch):
    monkeypatch.setattr(blas, "_PINNED", set())
    monkeypatch.setattr(blas, "cores", lambda: 4)
    blas._libraries()  # loads all there are
    with threadpool_limits(limits=2, user_api="blas"):
        with own_threads() as team:
            assert team.size == 2
        pin_blas()  # what a worker does first
        with own_threads() as team:
            assert team.size == 1


def test_a_second_thread_gets_a_team_of_one_and_nested_use_the_same_team(libraries):
    def size():
        with own_threads() as team:
            return team.size

    with own_threads() as team, own_threads() as again, ThreadPoolExecutor(1) as pool:
        assert again is team
        assert team.size == 4
        assert pool.submit(size).result() == 1
        sizes = []
        team.in_order(8, lambda _, room: room.append(size()), lambda room: sizes.append(room.pop()), list, 4)
        assert set(sizes) <= {1, 4}  # 4 in the calling thread, whose team it is
    assert numbers(libraries) == [4, 6]


# --- blocks in order --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 40])
@pytest.mark.parametrize("threads", [1, 2, 4, 100])
@pytest.mark.parametrize("slow", [None, 0, 1, 5])
def test_every_block_is_computed_once_and_added_in_order(count, threads, slow):
    """Whoever is late: a slow block holds up the sum, not the order, and no more rooms are in use than said."""
    rooms, computed, added = [], [], []

    def room():
        rooms.append([])
        return rooms[-1]

    def compute(index, room):
        if index == slow:
            time.sleep(0.01)
        computed.append(index)
        room[:] = [index]

    with own_threads() as team:
        team.in_order(count, compute, lambda room: added.append(room[0]), room, threads)
    assert sorted(computed) == list(range(count))
    assert added == list(range(count))
    assert len(rooms) <= min(threads, 4) + 1


@pytest.mark.usefixtures("libraries")
def test_sums_have_the_same_bits_on_any_number_of_threads():
    values = np.random.default_rng(1).standard_normal((200, 50)) * 10.0 ** np.arange(-25, 25)
    expected = np.zeros(50)
    for value in values:
        expected = expected + value
    assert np.any(expected != values[::-1].sum(axis=0))  # another order gives other bits

    def compute(index, room):
        time.sleep(1e-5 * (index % 3))
        room[:] = values[index]

    for threads in (1, 2, 3, 4):
        total = np.zeros(50)
        with own_threads() as team:
            team.in_order(200, compute, lambda room: np.add(total, room, out=total), lambda: np.empty(50), threads)  # noqa: B023
        np.testing.assert_array_equal(total, expected)


def test_several_threads_do_work_at_once(libraries):
    """Four blocks that wait for one another: on fewer than four threads none would pass."""
    barrier = threading.Barrier(4)
    names = []

    def compute(index, room):
        barrier.wait(PATIENCE)
        names.append(threading.current_thread().name)

    with own_threads() as team:
        team.in_order(4, compute, lambda room: None, list, 4)
        assert len(set(names)) == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("iclglass")]


@pytest.mark.usefixtures("libraries")
def test_a_caller_whose_helpers_get_no_core_does_the_work_alone():
    never = threading.Event()
    with own_threads() as team:
        team.in_order(4, lambda index, room: None, lambda room: None, list, 4)  # starts the helpers
        busy = [team._executor.submit(never.wait, PATIENCE) for _ in range(3)]
        names, added = set(), []

        def compute(index, room):
            names.add(threading.current_thread().name)
            room[:] = [index]

        team.in_order(10, compute, lambda room: added.append(room[0]), list, 4)
        never.set()
        assert all(helper.result() for helper in busy)
    assert names == {threading.current_thread().name}
    assert added == list(range(10))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_error_in_any_thread_ends_the_pass_and_is_raised(libraries, error, where):
    caller = threading.current_thread()
    failed = threading.Event()
    computed = []

    def compute(index, room):
        if (threading.current_thread() is caller) == (where == "caller"):
            failed.set()
            raise error
        assert failed.wait(PATIENCE)
        computed.append(index)

    with own_threads() as team:
        with pytest.raises(error):
            team.in_order(1000, compute, lambda room: None, list, 4)
        assert len(computed) <= 8  # nobody goes on for long
        added = []
        team.in_order(5, lambda index, room: room.append(index), lambda room: added.append(room.pop()), list, 4)
        assert added == [0, 1, 2, 3, 4]
    assert numbers(libraries) == [4, 6]


@pytest.mark.usefixtures("libraries")
def test_threads_that_wait_for_room_are_not_left_waiting_after_an_error():
    """The first block fails when all other rooms hold results that cannot be added before it."""
    full, computed = threading.Event(), []

    def compute(index, room):
        if index == 0:
            assert full.wait(PATIENCE)
            time.sleep(0.05)  # by now the others ask for room
            raise ZeroDivisionError
        computed.append(index)
        if len(computed) == 4:
            full.set()

    with own_threads() as team, pytest.raises(ZeroDivisionError):
        team.in_order(100, compute, lambda room: None, list, 4)
    assert sorted(computed) == [1, 2, 3, 4]


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_while_adding_ends_the_pass(threads):
    def add(room):
        if room[0] == 5:
            raise ZeroDivisionError
        added.append(room[0])

    added = []
    with own_threads() as team, pytest.raises(ZeroDivisionError):
        team.in_order(100, lambda index, room: room.__setitem__(slice(None), [index]), add, list, threads)
    assert added == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("libraries")
def test_helpers_overflow_as_quietly_as_their_caller():
    """NumPy's errstate is the caller's; without it a helper's overflow would warn, and warnings are errors here."""
    barrier = threading.Barrier(4)

    def compute(index, room):
        barrier.wait(PATIENCE)  # one for each thread
        np.square(np.full(3, 1e300))

    with own_threads() as team, np.errstate(over="ignore"):
        team.in_order(4, compute, lambda room: None, list, 4)
