"""``python -m benchmarks [large]``: every pair as a table; ``large`` adds the solve at 40200 spins.

Means and variances of one data set are timed by pytest-benchmark, from here too: `python -m pytest benchmarks`.
"""

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import beside, instance, models, pairs, samplers, sweeping

if __name__ == "__main__":
    print(f"{'pair':58s} {'slow':>12s} {'fast':>12s} {'ratio':>9s}")

    def show(result: pairs.Pair) -> None:
        print(f"{result.name:58s} {result.slow:10.3g} s {result.fast:10.3g} s {result.slow / result.fast:9.3g}")

    for pair in (
        pairs.closed_form_against_root_loop,
        pairs.operator_against_dense_features,
        pairs.prompt_laws,
        sweeping.overhead,
        sweeping.second_worker,
    ):
        show(pair())
    for found in (*models.pairs(), *beside.pairs()):
        show(found)
    peaks = [
        instance.peak_memory(partial(way, 20, 100, 10_000)) / 1e6
        for way in (instance.dense_with_loops, instance.message_passing)
    ]
    name = "memory, means and variances, D = 20, P = 10000: dense, loops"
    print(f"{name:58s} {peaks[0]:8.3g} MB {peaks[1]:8.3g} MB {peaks[0] / peaks[1]:9.3g}")
    print(f"\n10^6 points, all quantities: {pairs.million_points():.2f} s")
    for dimension in (10, 20):
        print(f"\n{'effective samples of the worst spin, four chains':58s} {'ESS':>12s} {'time':>12s} {'ESS/s':>9s}")
        for rate in samplers.effective_samples(dimension):
            name = f"{rate.name}, n = {rate.spins}"
            print(f"{name:58s} {rate.effective:12.0f} {rate.seconds:10.3g} s {rate.rate:9.3g}")
    print(f"\n{samplers.large_exact()}")
    if "large" in sys.argv[1:]:
        print(instance.large_instance())
    if find_spec("pytest_benchmark") is None:
        print("\nno times of means and variances: pip install 'iclglass[benchmarks]' adds pytest-benchmark")
    else:
        columns = ["--benchmark-columns=min,median,rounds", "--benchmark-sort=min"]
        sys.exit(pytest.main([str(Path(__file__).parent), "-q", *columns]))
