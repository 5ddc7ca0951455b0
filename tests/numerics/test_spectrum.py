"""Marchenko-Pastur law: against quadrature, its known moments, its equation with 50 digits, and the saddle point."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.spectrum import (
    marchenko_pastur_density,
    marchenko_pastur_edges,
    stieltjes,
    zero_eigenvalue_fraction,
)

RATIOS = [0.01, 0.25, 0.9, 1.0, 1.7, 20.0]
# Adaptive quadrature of a density with square-root edges, asked for 1e-11.
QUADRATURE = 1e-9
# A closed form of ten operations without cancellation.
ROUNDING = 1e-13


def average(function, ratio):
    """< function(x) > over the continuous part, with the edges smoothed by x = mid + half sin(t)."""
    low, high = marchenko_pastur_edges(ratio)
    mid, half = (low + high) / 2, (high - low) / 2

    def integrand(t):
        x = mid + half * math.sin(t)
        return function(x) * float(marchenko_pastur_density(x, ratio=ratio)) * half * math.cos(t)

    return quad(integrand, -math.pi / 2, math.pi / 2, epsabs=1e-13, epsrel=1e-11, limit=500)[0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_moments_are_the_known_ones(ratio):
    """1, 1 + c, 1 + 3c + c^2: the Narayana polynomials; an atom at 0 adds nothing, but takes 1 - 1/c of the weight."""
    for power, known in ((0, min(1, 1 / ratio)), (1, 1), (2, 1 + ratio), (3, 1 + 3 * ratio + ratio**2)):
        assert average(lambda x, k=power: x**k, ratio) == pytest.approx(known, rel=QUADRATURE)


def test_edges_and_the_outside():
    assert marchenko_pastur_edges(0.25) == (0.25, 2.25)
    assert marchenko_pastur_edges(1) == (0.0, 4.0)
    x = np.array([-1.0, 0.0, 0.25, 2.25, 3.0, np.inf])
    assert marchenko_pastur_density(x, ratio=0.25).tolist() == [0.0] * 6
    assert marchenko_pastur_density(np.array([[1.0, 2.0]]), ratio=0.25).shape == (1, 2)
    assert (marchenko_pastur_density([0.3, 1.0, 2.2], ratio=0.25) > 0).all()


@pytest.mark.parametrize("ratio", [0.25, 0.9, 1.7, 20.0])
@pytest.mark.parametrize("shift", [0.01, 1.0, 30.0])
def test_the_transform_is_the_average_atom_included(ratio, shift):
    atom = max(0.0, 1 - 1 / ratio) / shift
    assert float(stieltjes(shift, ratio=ratio)) == pytest.approx(
        atom + average(lambda x: 1 / (x + shift), ratio), rel=QUADRATURE
    )


@given(st.floats(-12, 12), st.floats(-4, 4))
def test_the_transform_solves_its_equation_to_rounding(log_shift, log_ratio):
    """Against the positive root with 50 digits: no cancellation, however small or large the shift."""
    shift, ratio = 10**log_shift, 10**log_ratio
    with mpmath.workdps(50):
        s, c = mpmath.mpf(shift), mpmath.mpf(ratio)
        b = s + 1 - c
        root = (mpmath.sqrt(b**2 + 4 * c * s) - b) / (2 * c * s)
        found = mpmath.mpf(float(stieltjes(shift, ratio=ratio)))
        assert abs(found / root - 1) <= ROUNDING * max(1, abs((1 + c + s) / (abs(b) + mpmath.sqrt(c * s))))


@given(st.floats(0.01, 100), st.floats(0.1, 100), st.floats(0.01, 10), st.floats(0, 5))
def test_the_saddle_point_by_a_third_road(tau, alpha, ridge, noise):
    """chi = <1/(a x + lam)> over the spectrum of the Hessian, x ~ Marchenko-Pastur(1/tau)."""
    a = 1 + (1 + noise) / alpha
    chi = float(stieltjes(ridge / a, ratio=1 / tau)) / a
    solved = solve(task_diversity=tau, context_length=alpha, ridge=ridge, label_noise=noise)
    assert float(solved.chi) == pytest.approx(chi, rel=1e-10)


@pytest.mark.parametrize("ratio", [0, -1, math.nan, math.inf])
def test_a_bad_ratio_is_refused(ratio):
    for function in (marchenko_pastur_density, stieltjes):
        with pytest.raises(ParameterError, match=r"ratio = .* must be finite and > 0: it is variables over samples"):
            function(1.0, ratio=ratio)


@pytest.mark.parametrize("shift", [0, -1, [1.0, 0.0], math.nan])
def test_a_shift_without_a_transform_is_refused(shift):
    with pytest.raises(ParameterError, match=r"shift = .* must be > 0: at 0 the transform may diverge"):
        stieltjes(shift, ratio=1.0)


@pytest.mark.parametrize(
    ("dimension", "prompts", "zeros"),
    [(10, 25, 121 - 25), (10, 109, 12), (10, 110, 11), (10, 111, 11), (10, 10**6, 11), (1, 1, 3), (1, 2, 2)],
)
def test_zero_eigenvalues_are_counted(dimension, prompts, zeros):
    """max(D + 1, (D+1)^2 - P): the masked column, or what P prompts leave free."""
    spins = (dimension + 1) ** 2
    assert zero_eigenvalue_fraction(dimension=dimension, prompts=prompts) == zeros / spins


@pytest.mark.parametrize("name", ["dimension", "prompts"])
def test_bad_counts_are_refused(name):
    for bad in (0, 2.5):
        with pytest.raises(ParameterError, match=name):
            zero_eigenvalue_fraction(**({"dimension": 10, "prompts": 10} | {name: bad}))
