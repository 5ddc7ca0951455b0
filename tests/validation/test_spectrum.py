"""Eigenvalues of drawn Hessians: the zeros counted exactly, the bulk against Marchenko-Pastur as D -> infinity."""

import numpy as np
import pytest
from scipy.integrate import quad
from threadpoolctl import threadpool_limits

from iclglass.numerics.instance.spin_glass import hessian_eigenvalues
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.sizes import sizes_at
from iclglass.numerics.spectrum import marchenko_pastur_density, marchenko_pastur_edges, zero_eigenvalue_fraction
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold
from tests.validation.scores import excess, z_of

ALPHA, NOISE = 2.0, 0.3
TAUS = (0.5, 2.0)
SIZES, SAMPLES = (8, 12, 16, 24), 32
# Probability that a correct theory fails the bulk test at one tau, all statistics together.
FALSE_ALARM = 1e-3


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread():
    """Many small matrices: threads of the linear algebra only wait for each other."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def draw(dimension, index, *, tau=2.0, prompts=None):
    sizes = sizes_at(dimension, {"task_diversity": tau, "context_length": ALPHA})
    return draw_prompts(
        dimension=dimension,
        context=sizes.context,
        prompts=sizes.prompts if prompts is None else prompts,
        label_noise=NOISE,
        rng=np.random.default_rng(np.random.SeedSequence(entropy=5, spawn_key=(dimension, index))),
    )


@pytest.mark.parametrize(
    ("dimension", "prompts"),
    [(6, 1), (6, 20), (6, 41), (6, 42), (6, 43), (6, 200), (12, 100), (12, 156), (12, 400), (2, 6), (2, 2)],
)
def test_the_fraction_of_zeros_is_exactly_the_predicted_one(dimension, prompts):
    values = hessian_eigenvalues(draw(dimension, 0, prompts=prompts))
    assert values.shape == ((dimension + 1) ** 2,)
    assert (np.diff(values) >= 0).all()
    # Rounding of a zero eigenvalue: the size of the matrix times that of its largest eigenvalue, in units of eps.
    zero = np.abs(values) <= 4 * len(values) * np.finfo(float).eps * values[-1]
    assert zero.mean() == zero_eigenvalue_fraction(dimension=dimension, prompts=prompts)
    assert (values[~zero] > 0).all()


def test_the_mean_trace_is_that_of_the_symbolic_moments_at_finite_size():
    """E tr S^T S/P = D (block + last row), exact at every D and N; z-scores, false alarm 1e-3 for the three sizes."""
    for dimension, samples in ((4, 400), (7, 200), (12, 60)):
        traces = np.array([hessian_eigenvalues(draw(dimension, index)).sum() for index in range(samples)])
        moments = feature_moments(dimension=dimension, context=round(ALPHA * dimension), label_noise=NOISE, norm="N")
        z = z_of(traces, float(dimension * (moments.block + moments.last_row)))
        assert abs(z) < bonferroni_threshold(FALSE_ALARM, 3, samples - 1), (dimension, z)


def bulk_of(dimension, index, tau):
    """Scaled eigenvalues of the D^2 spins of the block: without the masked column and the D of the last row."""
    values = hessian_eigenvalues(draw(dimension, index, tau=tau))
    return dimension * values[dimension + 1 : -dimension]


@pytest.fixture(scope="module")
def bulks():
    return {tau: [[bulk_of(dimension, index, tau) for index in range(SAMPLES)] for dimension in SIZES] for tau in TAUS}


def fraction_below(x, ratio):
    """Of the whole Marchenko-Pastur law, atom included, by quadrature with smoothed edges."""
    low, high = marchenko_pastur_edges(ratio)
    mid, half = (low + high) / 2, (high - low) / 2

    def integrand(t):
        return float(marchenko_pastur_density(mid + half * np.sin(t), ratio=ratio)) * half * np.cos(t)

    return max(0.0, 1 - 1 / ratio) + quad(integrand, -np.pi / 2, np.arcsin(np.clip((x - mid) / half, -1, 1)))[0]


def disagreements(bulks, *, tau, a, ratio):
    """Statistics of x = D lambda/a that, extrapolated to D -> infinity, are not those of Marchenko-Pastur(ratio).

    The mean, and the fraction below points spread over the law of the true ratio: bounded, so of little scatter.
    """
    low, high = marchenko_pastur_edges(1 / tau)
    known = {"mean": (1.0, np.mean)}
    for place in (0.05, 0.2, 0.5, 0.8):
        x = low + place * (high - low)
        known[f"below {x:.3f}"] = (fraction_below(x, ratio), lambda bulk, x=x: np.mean(bulk < x))
    found = []
    for name, (value, statistic) in known.items():
        samples = np.array([[statistic(bulk / a) for bulk in row] for row in bulks])
        found.append((name, *excess(SIZES, samples - value, false_alarm=FALSE_ALARM, comparisons=len(known))))
    return [row for row in found if row[-1] >= 0]


@pytest.mark.parametrize("tau", TAUS)
def test_the_bulk_is_marchenko_pastur(bulks, tau):
    a = 1 + (1 + NOISE) / ALPHA
    assert disagreements(bulks[tau], tau=tau, a=a, ratio=1 / tau) == []


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize(
    ("factor", "ratio_factor"), [(1.2, 1.0), (1 / 1.2, 1.0), (1.0, 1.25), (1.0, 0.75)], ids=["a+", "a-", "c+", "c-"]
)
def test_a_bulk_wrong_by_a_fifth_or_a_ratio_by_a_quarter_is_caught(bulks, tau, factor, ratio_factor):
    """Negative control: the test above is strong enough to see it."""
    a = factor * (1 + (1 + NOISE) / ALPHA)
    assert disagreements(bulks[tau], tau=tau, a=a, ratio=ratio_factor / tau)


def test_the_last_row_has_d_eigenvalues_of_order_one_above_the_bulk():
    """At D = 27, tau = 2 the bulk ends at a/D (1 + sqrt(1/tau))^2 = 0.18; the last row's D lie near E u^2 E x^2 > 1."""
    dimension = 27
    for index in range(3):
        values = hessian_eigenvalues(draw(dimension, index))
        a = 1 + (1 + NOISE) / ALPHA
        edge = a / dimension * marchenko_pastur_edges(0.5)[1]
        moments = feature_moments(dimension=dimension, context=round(ALPHA * dimension), label_noise=NOISE, norm="N")
        top = values[-dimension:]
        # The D x D Gram matrix of one row has ratio D/P = 1/54: its spread is about 2/sqrt(54) = 0.27 to either side.
        low, high = (moments.last_row * side for side in marchenko_pastur_edges(dimension / 1458))
        assert top.min() > edge
        assert low * 0.8 < top.min() <= top.max() < high * 1.4
        assert values[-dimension - 1] < top.min() / 2
