"""A data set in blocks on an executor: against the one in memory, the same bits everywhere, and what may go wrong."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from iclglass.numerics.errors import ParameterError, ParameterTypeError, WorkerError
from iclglass.numerics.instance import blocks as blocks_module
from iclglass.numerics.instance.blocks import InstanceBlocks
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.distributed import DistributedFeatures, solve_distributed
from iclglass.numerics.instance.exact import exact
from iclglass.numerics.instance.krylov import response_solve
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.instance.predictions import train_error
from iclglass.numerics.status import Status
from iclglass.validation.prompt_blocks import PromptBlocks
from tests.numerics.instance.test_solve import BAD

SUMS = 1e-13  # sums of positive and negative terms in another order, relative to the largest
SOLVES = 1e-12  # residuals at most 1e-14 times condition numbers at most 120; at D = 100 see there
PROBES = 1e-7  # relative: probes are solved to 1e-6 only, by the same steps on both roads up to rounding
RIDGE0, BETA = 0.05, 2.0
SMALL = PromptBlocks(dimension=6, context=12, prompts=230, label_noise=0.1, seed=3, block_prompts=16)  # 15 blocks


def arrays(prompts: int, dimension: int = 5) -> Instance:
    rng = np.random.default_rng(prompts)
    return Instance(
        rng.standard_normal((prompts, dimension + 1)) + 0.3,
        rng.standard_normal((prompts, dimension)),
        rng.standard_normal(prompts),
    )


def close(one: np.ndarray, other: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.max(np.abs(other)))


@dataclass(frozen=True, eq=False)
class Watched:
    """A source that counts the blocks it makes and may wait or fail at one; for threads."""

    source: PromptBlocks
    made: list[int]
    slow: float = 0.0
    fails: int = -1
    error: type[BaseException] = KeyboardInterrupt

    prompts = property(lambda self: self.source.prompts)
    dimension = property(lambda self: self.source.dimension)
    blocks = property(lambda self: self.source.blocks)

    def block(self, index: int) -> Instance:
        self.made.append(index)
        time.sleep(self.slow * (self.blocks - index))
        if index == self.fails:
            raise self.error(f"no room for block {index}")
        return self.source.block(index)


@pytest.mark.parametrize("block_prompts", [1, 7, 12, 36, 37, 100])  # 36 prompts: one each, with a rest, one block
@pytest.mark.parametrize(("tasks", "single"), [(1, False), (3, False), (64, False), (3, True)])
def test_operator_is_that_of_the_data_in_memory_in_double(block_prompts, tasks, single):
    data = arrays(36).as_float32() if single else arrays(36)
    source = InstanceBlocks(data, block_prompts=block_prompts)
    assert sum(source.block(index).prompts for index in range(source.blocks)) == 36
    found, memory = DistributedFeatures(source, tasks=tasks), data.features.in_double()
    assert found.arithmetic == np.float64
    weights = np.random.default_rng(0).standard_normal((3, 6, 5))
    close(found.normal(weights), memory.normal(weights), SUMS)
    close(found.normal(weights[0]), memory.normal(weights[0]), SUMS)
    close(found.fields(), memory.adjoint(data.label) / 36, SUMS)
    close(found.diagonal(), memory.diagonal(), SUMS)
    for one, other in zip(found.second_moments(), memory.second_moments(), strict=True):
        close(one, other, SUMS)
    assert found.train_error(weights[0]) == pytest.approx(train_error(data, weights[0]), rel=SUMS)
    assert (found.shape, found.weight_shape) == (memory.shape, memory.weight_shape)


@pytest.mark.parametrize("prompts", [20, 200])  # fewer prompts than the 30 spins, and more
def test_means_are_those_in_memory(prompts):
    data = arrays(prompts)
    found = solve_distributed(InstanceBlocks(data, block_prompts=9), ridge0=RIDGE0, beta=BETA, tolerance=1e-14)
    direct = ground_state(data, RIDGE0, "primal")
    close(found.mean[:, :-1], direct, SOLVES)
    assert np.all(found.mean[:, -1] == 0)
    assert found.status == Status.CONVERGED
    assert found.residual <= 1e-14
    assert np.isnan(found.variance[:, :-1]).all()
    assert np.all(found.variance[:, -1] == 1 / (BETA * RIDGE0))


def test_without_ridge_and_few_prompts_the_mean_is_of_minimum_norm():
    data = arrays(12)
    found = solve_distributed(InstanceBlocks(data, block_prompts=5), ridge0=0.0, beta=BETA)
    close(found.mean[:, :-1], ground_state(data, 0.0, "dual"), 1e-9)
    assert np.isinf(found.variance).all()


def test_estimated_variances_are_those_in_memory():
    data = SMALL.whole()
    options = {"ridge0": RIDGE0, "beta": BETA, "probes": 5}
    found = solve_distributed(SMALL, **options, rng=np.random.default_rng(1))
    memory = exact(data, **options, road="cg", rng=np.random.default_rng(1))
    np.testing.assert_allclose(found.variance, memory.variance, rtol=PROBES)
    np.testing.assert_allclose(found.variance_error, memory.variance_error, rtol=PROBES, atol=PROBES)


@pytest.mark.slow
def test_means_at_dimension_100_are_those_in_memory_to_twelve_digits():
    """P = 40000, n = 10100, tau = 4: A has condition number 307 (the last row's scale), preconditioned 7.1."""
    source = PromptBlocks(dimension=100, context=1000, prompts=40_000, seed=5)
    ridge0 = 0.1 / 100
    with ThreadPoolExecutor(2) as pool:
        found = solve_distributed(source, ridge0=ridge0, beta=1.0, tolerance=3e-15, executor=pool)
    data = source.whole()
    fields = data.features.adjoint(data.label)[None] / data.prompts
    memory = response_solve(data.features, fields, ridge0, tolerance=3e-15, max_iterations=1000)
    assert found.status == Status.CONVERGED
    assert np.max(memory.residual) <= 3e-15
    error = np.max(np.abs(found.mean[:, :-1] - memory.weights[0])) / np.max(np.abs(memory.weights))
    print(f"largest difference {error:.1e} of the largest weight, {found.iterations} steps")
    assert error < SOLVES  # found: 1.2e-15


@pytest.fixture(scope="module")
def serial():
    return solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA)


def same_bits(one, other) -> None:
    for name in ("mean", "history", "residual", "iterations"):
        assert np.asarray(getattr(one, name)).tobytes() == np.asarray(getattr(other, name)).tobytes(), name


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("cache_bytes", [0, 5000, 2**28])
def test_threads_give_the_bits_of_the_serial_run(serial, workers, cache_bytes):
    with ThreadPoolExecutor(workers) as pool:
        same_bits(solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, executor=pool, cache_bytes=cache_bytes), serial)


def test_sums_are_added_in_order_whenever_they_come():
    """The first blocks take longest: with as many threads as tasks the last sums come first."""
    weights = np.random.default_rng(0).standard_normal((7, 6))
    expected = DistributedFeatures(SMALL).normal(weights)
    with ThreadPoolExecutor(SMALL.blocks) as pool:
        found = DistributedFeatures(Watched(SMALL, [], slow=2e-3), pool).normal(weights)
    assert found.tobytes() == expected.tobytes()


def test_the_number_of_tasks_changes_rounding_only(serial):
    other = solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, tasks=4)
    assert other.mean.tobytes() != serial.mean.tobytes()
    close(other.mean, serial.mean, 1e-11)


@pytest.mark.parametrize("tasks", [1, 2, 7, 15, 16, 1000])
def test_tasks_cut_the_blocks_in_order_and_evenly(tasks):
    cut = list(DistributedFeatures(SMALL, tasks=tasks)._cut("survey", None))
    edges = [(task.first, task.last) for task in cut]
    assert [index for first, last in edges for index in range(first, last)] == list(range(15))
    sizes = [last - first for first, last in edges]
    assert len(cut) == min(tasks, 15)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.slow
def test_processes_give_the_bits_of_the_serial_run_and_pin_their_blas(serial):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for cache in (2**28, 0):
            same_bits(solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, executor=pool, cache_bytes=cache), serial)
        larger = PromptBlocks(dimension=60, context=30, prompts=3000, seed=1, block_prompts=500)
        with threadpool_limits(limits=2, user_api="blas"):
            here = solve_distributed(larger, ridge0=RIDGE0, beta=BETA)
        same_bits(solve_distributed(larger, ridge0=RIDGE0, beta=BETA, executor=pool), here)
        libraries = [found for found in pool.submit(threadpool_info).result() if found["user_api"] == "blas"]
    assert libraries
    assert {found["num_threads"] for found in libraries} == {1}


@pytest.mark.slow
def test_dask_gives_the_bits_of_the_serial_run_even_when_a_worker_is_killed(serial):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor(pure=False) as executor,
    ):
        same_bits(solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, executor=executor), serial)
        victim = client.submit(os.getpid, pure=False).result()

        def kill(step: int, residual: float) -> None:
            if step == 3:
                os.kill(victim, signal.SIGKILL)

        same_bits(solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, executor=executor, progress=kill), serial)


def test_the_drivers_blas_gets_its_threads_back():
    with threadpool_limits(limits=2, user_api="blas"):
        before = [found["num_threads"] for found in threadpool_info()]
        solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, max_iterations=2)
        assert [found["num_threads"] for found in threadpool_info()] == before


def passes(cache_bytes: int) -> list[int]:
    watched = Watched(SMALL, [])
    solve_distributed(watched, ridge0=RIDGE0, beta=BETA, cache_bytes=cache_bytes, max_iterations=3)
    return np.bincount(watched.made, minlength=15).tolist()


def test_blocks_that_fit_are_made_once_and_the_others_in_every_pass():
    """Survey, three steps, the residual: five passes. A block of 16 prompts holds 16 (7 + 6 + 1) numbers."""
    assert passes(0) == [5] * 15
    assert passes(2**28) == [1] * 15
    assert passes(16 * 14 * 8 * 4) == [1] * 4 + [5] * 11
    assert passes(16 * 14 * 8 * 4 - 1) == [1] * 3 + [5] * 11 + [1]  # the last block, of 6 prompts, still fits


def test_the_cache_holds_one_source_and_nothing_after_a_solve():
    features = [DistributedFeatures(replace(SMALL, seed=seed)) for seed in (1, 2)]
    cache = blocks_module._CACHE
    weights = np.ones((7, 6))
    one, two = (found.normal(weights) for found in features)
    assert cache._source == features[1].source
    assert cache._bytes == 230 * 14 * 8
    assert features[0].normal(weights).tobytes() == one.tobytes()
    assert features[1].normal(weights).tobytes() == two.tobytes()
    assert one.tobytes() != two.tobytes()
    solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, max_iterations=1)
    assert (cache._source, cache._kept, cache._bytes) == (None, {}, 0)


def test_a_solve_in_two_parts(serial):
    part = solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, max_iterations=serial.iterations // 2)
    assert part.status == Status.NOT_CONVERGED
    rest = solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, initial=part)
    assert rest.status == Status.CONVERGED
    assert rest.iterations < serial.iterations
    close(rest.mean, serial.mean, 1e-11)
    done = solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, initial=serial)
    assert (done.iterations, done.residual <= 1e-12) == (0, True)


def test_progress_is_told_of_every_step(serial):
    told = []
    solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, progress=lambda *step: told.append(step))
    assert told == list(enumerate(serial.history.tolist(), start=1))


class Dying(Executor):
    """Workers that die after some tasks."""

    def __init__(self, survives: int) -> None:
        self.left, self.submitted = survives, []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        self.left -= 1
        self.submitted.append(future)
        if self.left >= 0:
            future.set_result(fn(*args, **kwargs))
        elif self.left == -1:
            future.set_exception(BrokenExecutor("a child process terminated abruptly"))
        return future


def test_a_dead_worker_is_one_clear_error_and_nothing_more_is_started():
    executor = Dying(20)  # in the second pass
    with pytest.raises(WorkerError, match=r"a worker died during a pass over 15 blocks .* start a new executor"):
        solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, executor=executor)
    assert all(future.done() for future in executor.submitted)


@pytest.mark.slow
def test_a_killed_process_ends_the_solve():
    pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    try:
        victim = pool.submit(os.getpid).result()

        def kill(step: int, residual: float) -> None:
            if step == 3:
                os.kill(victim, signal.SIGKILL)

        with pytest.raises(WorkerError, match="a worker died"):
            solve_distributed(SMALL, ridge0=RIDGE0, beta=BETA, executor=pool, progress=kill)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@pytest.mark.slow
def test_an_interrupt_while_processes_work():
    """SIGINT in the middle of a pass: the solve ends at once, the pool is of use still."""
    source = PromptBlocks(dimension=100, context=100, prompts=40_000, seed=1)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        timer = threading.Timer(0.05, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            solve_distributed(
                source,
                ridge0=1e-5,
                beta=1.0,
                executor=pool,
                cache_bytes=0,
                progress=lambda step, residual: timer.start() if step == 2 else None,
            )
        started = time.perf_counter()
        assert pool.submit(os.getpid).result() > 0
    assert time.perf_counter() - started < 10  # the whole solve takes a minute


def test_an_interrupt_stops_the_tasks_that_have_not_begun():
    watched = Watched(SMALL, [], slow=1e-3, fails=2)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            solve_distributed(watched, ridge0=RIDGE0, beta=BETA, executor=pool)
        assert pool.submit(threading.active_count).result() > 0  # it is of use still
    assert watched.made[:3] == [0, 1, 2]
    assert len(watched.made) < 15


def test_an_error_of_the_source_is_the_error():
    watched = Watched(SMALL, [], fails=4, error=MemoryError)
    with ThreadPoolExecutor(2) as pool:
        for executor in (None, pool):
            with pytest.raises(MemoryError, match="block 4"):
                solve_distributed(watched, ridge0=RIDGE0, beta=BETA, executor=executor)


def test_blocks_that_do_not_add_up_are_refused():
    @dataclass(frozen=True)
    class Wrong:
        prompts: int = 400
        dimension: int = 6
        blocks: int = 15

        def block(self, index: int) -> Instance:
            return SMALL.block(index)

    with pytest.raises(ParameterError, match="says 400 prompts in 6 dimensions, its 15 blocks hold 230 in 6"):
        solve_distributed(Wrong(), ridge0=RIDGE0, beta=BETA)
    with pytest.raises(ParameterError, match="hold 230 in 6"):
        solve_distributed(Wrong(prompts=230, dimension=5), ridge0=RIDGE0, beta=BETA)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"source": arrays(5)}, ParameterTypeError, "must be a BlockSource, .*InstanceBlocks makes one"),
        ({"executor": 4}, ParameterTypeError, "executor must be a concurrent.futures.Executor"),
        ({"tasks": 0}, ParameterError, "tasks must be at least 1"),
        ({"cache_bytes": -1}, ParameterError, "cache_bytes must be at least 0"),
        ({"tasks": 10**400}, ParameterError, "tasks must be at most"),
        ({"source": replace(SMALL, dimension=10**7)}, ParameterError, r"1\d+ spins need about .* smaller dimension"),
        *BAD,
        ({"probes": 1}, ParameterError, "probes must be 0 or at least 2"),
        ({"rng": 3}, ParameterTypeError, "rng must be a numpy"),
        ({"initial": np.zeros((7, 6))}, ParameterTypeError, "initial must be an InstanceSolution"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        solve_distributed(**{"source": SMALL, "ridge0": RIDGE0, "beta": BETA} | options)


def test_bad_starts_and_blocks(serial):
    options = {"ridge0": RIDGE0, "beta": BETA}
    with pytest.raises(ParameterError, match=r"weights of shape \(7, 6\), the source wants \(8, 7\)"):
        solve_distributed(replace(SMALL, dimension=7), **options, initial=serial)
    with pytest.raises(ParameterError, match="no finite means"):
        solve_distributed(SMALL, **options, initial=replace(serial, mean=np.full((7, 7), np.nan)))
    with pytest.raises(ParameterError, match="minimum norm"):
        solve_distributed(replace(SMALL, prompts=20), ridge0=0.0, beta=BETA, initial=serial)
    with pytest.raises(ParameterTypeError, match="must be an Instance"):
        InstanceBlocks(np.zeros(3))
    with pytest.raises(ParameterError, match="block_prompts must be at least 1"):
        InstanceBlocks(arrays(5), block_prompts=0)
