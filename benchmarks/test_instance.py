"""One data set, timed by pytest-benchmark: `python -m pytest benchmarks`; the number in brackets is the ratio."""

import pytest

from benchmarks import instance

SIZES = (20, 100, 10_000)
FROM_NOTHING = "means and variances from nothing, D = 20, N = 100, P = 10000"


@pytest.mark.benchmark(group=FROM_NOTHING)
def test_dense_with_loops(benchmark):
    benchmark.pedantic(instance.dense_with_loops, args=SIZES, rounds=3)


@pytest.mark.benchmark(group=FROM_NOTHING)
def test_message_passing(benchmark):
    benchmark.pedantic(instance.message_passing, args=SIZES, rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("prompts", [1500, 7200])
@pytest.mark.parametrize("way", ["sklearn-Ridge", "message-passing"])
def test_mean_weights(benchmark, way, prompts):
    pytest.importorskip("sklearn")
    benchmark.group = f"mean weights, D = 60, P = {prompts}"
    regression, ours = instance.ridge_regression(prompts, 60)
    benchmark.pedantic(regression if way == "sklearn-Ridge" else ours, rounds=3, warmup_rounds=1)
