"""Products with the features on the machine as it is, and beside one process for each core that never rests."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.pairs import Pair
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.running.blas import cores
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.target import Target

__all__ = ["by_the_threads_of_blas", "pairs", "spinning"]

_BLOCK = 1310
"""Prompts in a block of the loop that leaves BLAS its threads: 1 MB of its temporary at D = 100."""


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many processes that never rest."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def by_the_threads_of_blas(features: FeatureOperator, weights: np.ndarray) -> np.ndarray:
    """S^T S W block by block, each product on as many threads of BLAS as it has: the obvious way to use all cores."""
    total = np.zeros(weights.shape)
    for start in range(0, features.shape[0], _BLOCK):
        context, query = features.context[start : start + _BLOCK], features.query[start : start + _BLOCK]
        products = context @ weights
        prediction = np.einsum("pd,pd->p", products, query)
        total += context.T @ np.multiply(query, prediction[:, None], out=products)
    return total


def _medians(slow: Callable[[], object], fast: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of both, in turn: what else the machine does meets both."""
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        for function, found in zip((slow, fast), times, strict=True):
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def pairs(dimension: int = 100, prompts: int = 40_000, spins: int = 2000) -> Iterator[Pair]:
    """Ten products S^T S W, and ten of four chains with A in memory; without spinning processes and with them."""
    data = draw_prompts(dimension=dimension, context=dimension, prompts=prompts, rng=np.random.default_rng(5))
    features, rng = data.features, np.random.default_rng(6)
    weights = rng.standard_normal(features.weight_shape)
    np.testing.assert_allclose(by_the_threads_of_blas(features, weights), features.normal(weights), rtol=1e-10)
    small = draw_prompts(dimension=2, context=2, prompts=20, rng=rng)
    matrix, chains = rng.standard_normal((spins, spins)), rng.standard_normal((4, spins))
    target = Target(small, 0.1, 1.0, np.zeros(spins), 0.0, matrix + matrix.T)
    for count, where in ((0, "alone"), (cores(), f"beside {cores()} spinning processes")):
        with spinning(count):
            name = f"S^T S W, D = {dimension}, P = {prompts}, {where}: BLAS's threads"
            yield Pair(
                name,
                *_medians(
                    lambda: by_the_threads_of_blas(features, weights), lambda: features.normal(weights), repeats=10
                ),
            )
            name = f"A sigma, 4 chains, n = {spins}, {where}: BLAS's threads"
            yield Pair(name, *_medians(lambda: chains @ target.matrix, lambda: target.product(chains), repeats=50))
