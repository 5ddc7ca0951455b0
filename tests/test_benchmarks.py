"""The benchmarks give right numbers; what they say of memory is deterministic. No test asserts a time."""

import subprocess

import numpy as np
import pytest

from benchmarks import beside, instance
from iclglass.numerics.instance.solve import solve_instance
from iclglass.validation.prompts import draw_prompts


def test_the_dense_construction_is_the_published_iteration():
    """On as many prompts its means are those of method "published" within their scatter from data set to data set."""
    mean, variance = instance.dense_with_loops(5, 40, 3000)
    data = [
        draw_prompts(dimension=5, context=40, prompts=3000, norm="N+1", rng=np.random.default_rng(seed))
        for seed in range(20)
    ]
    found = [
        solve_instance(one, ridge0=0.01, beta=100.0, method="published", rng=np.random.default_rng(0)) for one in data
    ]
    for ours, theirs in (
        ([np.trace(one.mean) / 5 for one in found], np.trace(mean) / 5),
        ([one.variance[:5, :5].mean() for one in found], variance[:5, :5].mean()),
    ):
        # one value against 20: |t| < 3.9 with 19 degrees of freedom, false alarm 1e-3
        assert abs(theirs - np.mean(ours)) < 3.9 * np.std(ours, ddof=1) * np.sqrt(1 + 1 / 20)


def test_ridge_regression_gives_the_same_weights():
    pytest.importorskip("sklearn")
    regression, ours = instance.ridge_regression(80, 6)
    np.testing.assert_allclose(regression(), ours(), rtol=0, atol=1e-8)


def test_products_beside_other_processes_are_the_same_numbers_and_leave_no_process(monkeypatch):
    started = []
    begin = subprocess.Popen
    monkeypatch.setattr(beside.subprocess, "Popen", lambda *given: started.append(begin(*given)) or started[-1])
    monkeypatch.setattr(beside, "cores", lambda: 2)
    found = list(beside.pairs(dimension=10, prompts=3000, spins=30))  # it raises where the two ways differ
    assert len(found) == 4
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


@pytest.mark.slow
def test_memory_of_means_and_variances():
    """D = 20, N = 100, P = 10000: at least 40 times less than the dense construction with loops."""
    dense, ours = (
        instance.peak_memory(lambda way=way: way(20, 100, 10_000))
        for way in (instance.dense_with_loops, instance.message_passing)
    )
    assert dense > 40 * ours
