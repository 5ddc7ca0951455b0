"""Elementwise solvers, on maps that have nothing to do with physics."""

import numpy as np
import pytest

from iclglass.numerics.fixed_point import bracketed_root, iterate
from iclglass.numerics.solution import SENTENCES
from iclglass.numerics.status import Status


def test_iteration_converges_elementwise_to_the_known_root():
    """x <- (x + c/x)/2 is Newton's map for sqrt(c)."""
    c, start = np.array([[2.0, 3.0], [1e-8, 1e8]]), np.ones((1, 2, 2))
    result = iterate(lambda x: (x + c / x) / 2, start, tolerance=1e-15)
    assert (start == 1).all()
    assert (result.status == Status.CONVERGED).all()
    np.testing.assert_allclose(result.values[0], np.sqrt(c), rtol=1e-15)
    assert (result.residual <= 1e-15).all()


def test_residual_is_the_undamped_one():
    """With damping 0.999 a step is tiny everywhere; the residual must not be."""
    result = iterate(lambda x: 0 * x + 1.0, np.full((1, 1), 3.0), damping=0.999, tolerance=1e-3, limit=10)
    assert result.status[0] == Status.NOT_CONVERGED
    assert result.residual[0] > 1


def test_damping_makes_an_oscillating_map_converge():
    step = lambda x: 2.0 - 1.5 * (x - 1.0) - 1.0  # noqa: E731
    start = np.full((1, 1), 1.5)
    with np.errstate(all="ignore"):
        assert iterate(step, start, limit=200).status[0] != Status.CONVERGED
    damped = iterate(step, start, damping=0.5)
    assert damped.status[0] == Status.CONVERGED
    assert damped.values[0, 0] == pytest.approx(1.0, abs=1e-11)


def test_one_bad_point_does_not_stop_the_grid():
    """Growth to infinity, NaN from the start, slow, and good, in one grid."""
    rate = np.array([3.0, np.nan, 0.999999, 0.5])
    result = iterate(lambda x: 1 + rate * (x - 1), np.full((1, 4), 2.0), limit=3000, tolerance=1e-12)
    assert result.status[3] == Status.CONVERGED
    assert result.status[1] == Status.NOT_FINITE
    assert result.status[2] == Status.NOT_CONVERGED
    assert result.status[0] in (Status.NOT_FINITE, Status.NOT_CONVERGED)
    assert result.values[0, 3] == pytest.approx(1.0, abs=1e-11)
    assert result.iterations[3] < 100
    assert result.iterations[2] == 3000


def test_several_unknowns_are_judged_by_the_worst():
    rates = np.array([0.1, 0.9])[:, None]
    result = iterate(lambda x: 1 + rates * (x - 1), np.full((2, 1), 2.0), tolerance=1e-10)
    assert result.status[0] == Status.CONVERGED
    assert abs(result.values[:, 0] - 1).max() < 1e-9
    assert result.iterations[0] > 150


def test_roots_to_the_last_bits_and_a_bracket_without_a_sign_change_is_nan_and_said():
    c = np.array([1e-12, 0.3, 7.0, 1e12, -1.0])
    root, found = bracketed_root(lambda x, c: x**3 - c, np.zeros(5), np.full(5, 1e5), arguments=(c,))
    assert found.tolist() == [True] * 4 + [False]
    np.testing.assert_allclose(root, [*np.cbrt(c[:4]), np.nan], rtol=1e-14)


def test_every_status_has_a_sentence():
    assert len(set(SENTENCES.values())) == len(Status) == 7
    assert "lam > 0" in SENTENCES[Status.DIVERGES]
