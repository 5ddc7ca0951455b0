"""State evolution against the saddle point, a mode-by-mode solution, and the iterates of drawn data sets."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.gamp import gamp
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.sizes import sizes_at
from iclglass.numerics.state_evolution import StateEvolution, state_evolution
from iclglass.numerics.status import Status
from iclglass.validation.extrapolation import extrapolate
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold

# Goal of the issue: fixed point = saddle point. Rounding of a few operations a step, contracted by the rate.
FIXED_POINT = 1e-12
# Scalar recursion against modes: both exact; rounding only, amplified at most by the transient (limited to 1e3).
MODES = 1e-12
# Ratio of successive changes against rate^2 at step 60: the terms left out are of relative order rate^60 < 1e-8.
RATE = 1e-6
# One road to the same iterates in another order of operations.
SAME_ITERATES = 1e-11
# Probability that a correct theory fails one Monte Carlo test, all steps, quantities and points of it together.
FALSE_ALARM = 1e-3

STEPS = (1, 2, 3, 5, 8)
MEASURED = ("m", "q", "chi", "e_idg", "e_train", "last_row")
CASES = {
    "overfitting with label noise": {"task_diversity": 1.5, "context_length": 2.0, "label_noise": 0.1, "ridge": 0.1},
    "flat directions": {"task_diversity": 0.5, "context_length": 1.0, "ridge": 0.3},
    "many prompts, small ridge": {"task_diversity": 3.0, "context_length": 4.0, "label_noise": 0.2, "ridge": 0.01},
}


def random_points(count, seed):
    rng = np.random.default_rng(seed)
    return {
        "task_diversity": 10 ** rng.uniform(-1, 1.5, count),
        "context_length": 10 ** rng.uniform(-1, 1.5, count),
        "label_noise": rng.choice([0.0, 0.2, 2.0], count),
        "ridge": 10 ** rng.uniform(-1.5, 1, count),
        "test_context_length": 10 ** rng.uniform(-1, 1.5, count),
    }


def same_as_saddle_point(path, solution, names):
    for name in names:
        value = getattr(solution, name)
        deviation = np.abs(getattr(path, name)[-1] - value) / np.maximum(np.abs(value), 1e-3)
        assert np.max(deviation) < FIXED_POINT, name


def test_fixed_point_is_the_saddle_point():
    points = random_points(500, seed=1)
    path = state_evolution(steps=1500, **points)
    settled = path.rate < 0.98
    assert settled.sum() > 450
    points = {name: array[settled] for name, array in points.items()}
    names = ("m", "q", "chi", "e_icl", "e_idg", "e_train")
    same_as_saddle_point(state_evolution(steps=1500, **points), solve(**points), names)


@pytest.mark.parametrize("layer", [{}, {"last_feature": "scaled-tokens"}, {"last_row": False}])
@pytest.mark.parametrize("ridge", [0.3, 0.0])
def test_fixed_point_at_finite_dimension_is_the_finite_size_theory(layer, ridge):
    points = {"task_diversity": [3.0, 1.5, 0.5], "context_length": [1.0, 2.0, 0.55], "label_noise": 0.2, "ridge": ridge}
    points |= {"dimension": [10, 8, 20], "test_context_length": 3.0, "norm": "N+1", **layer}
    names = ("m", "q", "chi", "e_icl", "e_idg", "e_train", "last_row")
    kept = slice(None if ridge else 2)  # without ridge there is no fixed point below the threshold
    points = {name: value[kept] if isinstance(value, list) else value for name, value in points.items()}
    path, end = state_evolution(steps=300, **points), solve(**points)
    same_as_saddle_point(path, end, names)
    np.testing.assert_array_equal(path.rate, np.sqrt(1 - end.replicon))
    assert path.last_row.any() == ("last_row" not in layer)


def modes(tau, alpha, rho, lam, steps):
    """The iteration on Gaussian features, solved without any assumption on its messages.

    It is linear: along an eigenvector of S^T S P^-1 = (a/D) X the mean is K_t(x) times that of D S^T y/(a P), where
    K_t is a polynomial, and x follows the Marchenko-Pastur law, averaged over by Gauss-Chebyshev nodes, exactly.
    """
    a = 1 + (1 + rho) / alpha
    sigma2 = 1 + rho - 1 / a
    count = 2 * steps + 4
    angle = np.pi * np.arange(1, count + 1) / (count + 1)
    x = 1 + 1 / tau + 2 / np.sqrt(tau) * np.cos(angle)
    weight = 2 / (count + 1) * np.sin(angle) ** 2  # < x g > = weight @ g
    chi = 1 / (lam + a)
    gain = message = before = np.zeros(count)
    rows = []
    for _ in range(steps + 1):
        m = weight @ gain / a
        q = weight @ (x * gain**2) / a**2 + sigma2 / (a * tau) * (weight @ gain**2)
        e_train = sigma2 * (1 - weight @ (2 * gain - x * gain**2) / tau) + weight @ (1 - x * gain) ** 2 / a
        moved = gain - before
        change = weight @ (x * moved**2) / a**2 + sigma2 / (a * tau) * (weight @ moved**2)
        rows.append((m, q, chi, 1 + rho - 2 * m + a * q, e_train, change))
        before = gain
        c = a * chi / tau
        message = (1 - x * gain + c * message) / (1 + c)
        chi = 1 / (lam + a / (1 + c))
        gain = chi * a / (1 + c) * (gain + (1 + c) * message)
    return np.array(rows).T


def test_recursion_is_the_iteration_mode_by_mode():
    points = random_points(60, seed=2)
    del points["test_context_length"]
    path = state_evolution(steps=25, **points)
    for index in range(60):
        point = [points[n][index] for n in ("task_diversity", "context_length", "label_noise", "ridge")]
        for name, exact in zip(("m", "q", "chi", "e_idg", "e_train", "change"), modes(*point, steps=25), strict=True):
            scale = np.maximum(np.max(np.abs(exact)), 1)
            assert np.max(np.abs(getattr(path, name)[:, index] - exact)) < MODES * scale, name


def test_rate_is_the_modulus_of_every_mode():
    """The linear map (W, z) has eigenvalues of modulus sqrt(1 - replicon) on the whole bulk, edges included."""
    points = random_points(50, seed=3)
    rate = state_evolution(steps=0, **points).rate
    for tau, alpha, rho, lam, predicted in zip(
        *(points[n] for n in ("task_diversity", "context_length", "label_noise", "ridge")), rate, strict=True
    ):
        z = float(
            (1 + (1 + rho) / alpha) * solve(task_diversity=tau, context_length=alpha, label_noise=rho, ridge=lam).m
        )
        # strictly inside: at the edges two eigenvalues meet, and their rounding is a square root.
        x = 1 + 1 / tau + 2 / np.sqrt(tau) * np.linspace(-0.999, 0.999, 9)
        zeros = np.full(9, z / tau)
        matrix = np.array([[z * (1 - x), z * zeros], [-x, zeros]]).transpose(2, 0, 1)
        np.testing.assert_allclose(np.abs(np.linalg.eigvals(matrix)), predicted, rtol=FIXED_POINT)


@pytest.mark.parametrize("dimension", [None, 10])
def test_changes_fall_at_the_rate(dimension):
    points = {"task_diversity": [0.4, 1.5, 3.0], "context_length": 2.0, "ridge": [0.3, 0.2, 0.01], "label_noise": 0.1}
    path = state_evolution(steps=60, dimension=dimension, **points)
    ratio = path.change[60] / path.change[59]
    np.testing.assert_allclose(ratio, path.rate**2, rtol=RATE)


def test_finite_dimension_tends_to_the_recursion():
    """D [f(D) - f(inf)] tends to a constant as 1/D, from either start."""
    point = CASES["overfitting with label noise"]
    for start in (None, 10.0):
        limit = state_evolution(steps=6, initial_chi=start, **point)
        sizes = np.array([400, 800, 1600])
        paths = state_evolution(steps=6, initial_chi=start, dimension=sizes, **point)
        for name in ("m", "q", "chi", "e_icl", "e_train", "change", "last_row"):
            gap = (getattr(paths, name) - getattr(limit, name)[:, None]) * sizes
            # What is left of order 1/D^2 halves with every doubling of D.
            left = np.max(np.abs(np.diff(gap, axis=1)), axis=0)
            assert left[1] < 0.6 * left[0], name
            assert np.max(np.abs(gap)) < 400, name


def test_prior_of_the_last_row_enters_the_first_leverage():
    """D spins of variance D chi_0 on features of order one: c_0 = (a + (1 + rho)^2) chi_0/tau, as the rest at once."""
    tau, alpha, rho, lam, start = 1.5, 2.0, 0.3, 0.2, 4.0
    path = state_evolution(
        task_diversity=tau, context_length=alpha, label_noise=rho, ridge=lam, initial_chi=start, steps=2
    )
    a = 1 + (1 + rho) / alpha
    first = 1 / (lam + a / (1 + (a + (1 + rho) ** 2) * start / tau))
    assert path.chi[1] == pytest.approx(first, rel=FIXED_POINT)
    assert path.chi[2] == pytest.approx(1 / (lam + a / (1 + a * first / tau)), rel=FIXED_POINT)


def test_the_start_decides_the_transient():
    """tau < 1, small ridge: from small variances errors first grow by 1/tau a step; from the prior's they do not."""
    points = {"task_diversity": 0.5, "context_length": 2.0, "ridge": 1e-6}
    growing = state_evolution(steps=10, **points)
    assert np.diff(growing.e_idg)[-1] / np.diff(growing.e_idg)[-2] == pytest.approx(2, rel=0.02)
    calm = state_evolution(steps=10, initial_chi=1e6, **points)
    assert calm.e_idg.max() == calm.e_idg[0] == 1


def test_without_ridge():
    above = state_evolution(task_diversity=2.0, context_length=1.0, ridge=0, steps=100)
    same_as_saddle_point(above, solve(task_diversity=2.0, context_length=1.0, ridge=0), ("m", "q", "chi", "e_icl"))
    assert above.rate == pytest.approx(np.sqrt(1 / 2), rel=FIXED_POINT)
    below = state_evolution(task_diversity=[0.5, 1.0], context_length=1.0, ridge=0, steps=100)
    assert np.all(np.isnan(below.rate))
    assert np.all(below.e_idg[-1] > [1e29, 40])
    assert np.all(np.isnan(state_evolution(task_diversity=0.5, context_length=1.0, ridge=0, dimension=8).rate))


def test_shapes_and_start():
    path = state_evolution(task_diversity=[1.0, 2.0], context_length=[[1.0], [2.0], [3.0]], steps=4, label_noise=0.5)
    assert isinstance(path, StateEvolution)
    shapes = {name: array.shape for name, array in path.to_dict().items()}
    assert shapes.pop("rate") == (3, 2)
    assert set(shapes.values()) == {(5, 3, 2)}
    assert np.all(path.m[0] == 0)
    assert np.all(path.change[0] == 0)
    assert np.all(path.e_icl[0] == 1.5)
    assert np.all(path.e_train[0] == 1.5)
    np.testing.assert_allclose(path.change[1], path.q[1], rtol=FIXED_POINT)
    alone = state_evolution(task_diversity=2.0, context_length=3.0, steps=0, label_noise=0.5)
    assert alone.m.shape == (1,)
    assert alone.rate.shape == ()
    assert state_evolution(task_diversity=[], context_length=1.0, steps=2).m.shape == (3, 0)
    many = state_evolution(task_diversity=2.0, context_length=[1.0, 2.0], dimension=[[8], [10]], steps=3)
    one = state_evolution(task_diversity=2.0, context_length=2.0, dimension=10, steps=3)
    np.testing.assert_array_equal(many.q[:, 1, 1], one.q)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": -1}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"steps": "5"}, "steps"),
        ({"initial_chi": -1.0}, "initial_chi = -1.0 must be finite and >= 0"),
        ({"initial_chi": np.inf}, "initial_chi = inf"),
        ({"initial_chi": [1.0, np.nan]}, "initial_chi = nan"),
        ({"initial_chi": [[1], [1, 2]]}, "initial_chi must be a number or a rectangular array"),
        ({"initial_chi": [1.0, 2.0, 3.0], "ridge": [1.0, 2.0]}, r"initial_chi (3,)"),
        ({"dimension": 3}, "dimension = 3"),
    ],
)
def test_values_out_of_range_are_refused(changes, words):
    with pytest.raises((ParameterError, ParameterTypeError)) as refused:
        state_evolution(**({"task_diversity": 1.0, "context_length": 1.0} | changes))
    assert words in str(refused.value)


def messages(data, ridge0, steps, *, start=None, onsager=True):
    """The iteration with the feature matrix written out: means and variances, (steps + 1, D + 1, D)."""
    features, count = data.features.dense(), data.prompts
    squares = features**2
    mean, residual = np.zeros(data.spins), np.zeros(count)
    variance = 1 / (ridge0 + squares.mean(axis=0)) if start is None else np.full(data.spins, start)
    means, variances = [mean], [variance]
    for _ in range(steps):
        response = squares @ variance / count
        precision = squares.T @ (1 / (1 + response)) / count
        prediction = features @ mean - response * residual * onsager
        residual = (data.label - prediction) / (1 + response)
        estimate = mean + features.T @ residual / count / precision
        variance = 1 / (ridge0 + precision)
        mean = variance * precision * estimate
        means.append(mean)
        variances.append(variance)
    shape = (steps + 1, data.dimension + 1, data.dimension)
    return np.reshape(means, shape), np.reshape(variances, shape)


def matrix_free(data, ridge0, steps):
    """The same by the solver."""
    means, variances = np.zeros((2, steps + 1, data.dimension + 1, data.dimension))

    def record(step, mean, variance):
        means[step], variances[step] = mean, variance

    variances[0] = 1 / (ridge0 + data.features.diagonal())
    solution = gamp(data, ridge0=ridge0, beta=1.0, tolerance=1e-15, max_iterations=steps, damping=0.0, callback=record)
    assert solution.status in (Status.CONVERGED, Status.NOT_CONVERGED)
    return means, variances


def draw(point, dimension, rng):
    sizes = sizes_at(dimension, point)
    noise = point.get("label_noise", 0.0)
    return draw_prompts(dimension=dimension, context=sizes.context, prompts=sizes.prompts, label_noise=noise, rng=rng)


def observed(point, dimension, rng, iterate=matrix_free, **options):
    """The measured quantities at STEPS of one data set, (quantities, steps)."""
    data = draw(point, dimension, rng)
    means, variances = iterate(data, point["ridge"] / dimension, max(STEPS), **options)
    means, variances = means[list(STEPS)], variances[list(STEPS)]
    block, last = means[:, :dimension], np.sum(means[:, dimension] ** 2, axis=1)
    m = np.trace(block, axis1=1, axis2=2) / dimension
    q = np.sum(block**2, axis=(1, 2)) / dimension
    chi = variances[:, :dimension].mean(axis=(1, 2)) / dimension
    moments = feature_moments(dimension=dimension, context=data.context_count, label_noise=data.label_noise, norm="N")
    e_idg = moments.label - 2 * moments.signal * m + moments.block * q + moments.last_row * last
    e_train = [np.mean((data.label - data.features.predict(mean)) ** 2) for mean in means]
    return np.array([m, q, chi, e_idg, e_train, last])


def samples(point, dimension, count, seed, **options):
    with threadpool_limits(limits=1):
        seeds = np.random.SeedSequence(seed, spawn_key=(dimension,)).spawn(count)
        return np.array([observed(point, dimension, np.random.default_rng(child), **options) for child in seeds])


def predicted(point, **options):
    path = state_evolution(steps=max(STEPS), **point, **options)
    return np.array([getattr(path, name)[list(STEPS)] for name in MEASURED])


def gaps(point, sizes, values, theory, power):
    """Iterates minus theory, (sizes, seeds, quantities, steps), extrapolated in 1/D^power: (name, step, excess, z).

    excess > 0 is a failure: the gap beyond threshold standard errors and the truncation of the polynomial.
    """
    rows = []
    for i, name in enumerate(MEASURED):
        for j, step in enumerate(STEPS):
            shifted = [sample[:, i, j] - prediction[i, j] for sample, prediction in zip(values, theory, strict=True)]
            fit = extrapolate([size**power for size in sizes], shifted)
            threshold = bonferroni_threshold(FALSE_ALARM, len(MEASURED) * len(STEPS), dof=fit.dof)
            excess = abs(fit.value) - threshold * fit.standard_error - fit.truncation
            rows.append((name, step, excess, fit.value / fit.standard_error))
    return rows


def failures(*arguments):
    return [row for row in gaps(*arguments) if row[2] > 0]


SMALL = (8, 12, 16)


def at_finite_dimension(case, seed, count, **options):
    """Deviations from the recursion at the dimension of the data are of order 1/D^2: extrapolated in that."""
    point = CASES[case]
    values = [samples(point, size, count, seed, **options) for size in SMALL]
    return point, SMALL, values, [predicted(point, dimension=size) for size in SMALL], 2


def test_iterates_at_finite_dimension():
    assert failures(*at_finite_dimension("overfitting with label noise", 1, 96)) == []


def test_iterates_without_the_reaction_term_are_told_apart():
    found = failures(*at_finite_dimension("overfitting with label noise", 1, 48, iterate=messages, onsager=False))
    assert {row[0] for row in found} >= {"m", "q"}


def test_iterates_from_the_prior():
    """From the prior the last row, D spins on features of order one, counts in the first leverage at any dimension."""
    point = CASES["overfitting with label noise"]
    start = 1 / point["ridge"]
    values = [samples(point, size, 64, 1, iterate=messages, start=size * start) for size in SMALL]
    theory = [predicted(point, dimension=size, initial_chi=start) for size in SMALL]
    assert failures(point, SMALL, values, theory, 2) == []
    limit = [predicted(point, initial_chi=start)] * 3
    assert failures(point, SMALL, values, limit, 1) == []
    own_start = [predicted(point, dimension=size) for size in SMALL]
    assert failures(point, SMALL, values, own_start, 2) != []


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_iterates_at_finite_dimension_with_many_seeds(case):
    assert failures(*at_finite_dimension(case, 2, 600)) == []


LARGE = (20, 40, 80)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_deviation_falls_with_the_dimension(case):
    point = CASES[case]
    values = [samples(point, size, 16, seed=3) for size in LARGE]
    assert failures(point, LARGE, values, [predicted(point)] * 3, 1) == []
    # The check can fail: 20 % more prompts than there are.
    wrong = point | {"task_diversity": 1.2 * point["task_diversity"]}
    assert failures(point, LARGE, values, [predicted(wrong)] * 3, 1) != []
