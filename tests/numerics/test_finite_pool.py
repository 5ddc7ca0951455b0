"""Pools of tasks at finite dimension: the equations, their averages, their limits, their refusals."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import chdtri, ndtri
from scipy.stats import qmc

import iclglass.numerics.finite_pool as module
from iclglass.numerics import generated_numpy
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.finite_size import solve_finite, solve_given_pool
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.gamma_quadrature import scalar_nodes
from iclglass.numerics.pool_prompts import PoolPrompts, pool_prompts
from iclglass.numerics.saddle_point import solve

# Quasi-Monte Carlo with 2^16 points in 22 dimensions.
QUADRATURE = 1e-3
# Central differences with a relative step of 1e-4: (1e-4)^2 times a third derivative of order 10.
DIFFERENCE = 1e-6
# |z| of one comparison of two means: false alarm 6.8e-6.
Z_SCORE = 4.5
POINT = {"task_diversity": 1.5, "context_length": 2.0, "label_noise": 0.2, "ridge": 0.1, "temperature": 0.4}
POOL = np.random.default_rng(3).standard_normal((6, 9))


def test_points_follow_the_law_of_prompts():
    """Against moments by Isserlis' theorem: E u = t-weighted task, E u u^T, E u v, E v^2 for given tasks."""
    count, size = POOL.shape
    tokens, divisor, rho = 5, 6, 0.3
    drawn = pool_prompts(
        POOL, context=tokens, divisor=divisor, label_noise=rho, points=1 << 17, rng=np.random.default_rng(0)
    )
    square = np.sum(POOL**2, axis=1) / size + rho
    outer = np.einsum("ki,kj->ij", POOL, POOL) / (count * size)
    u, v = drawn.features[:, :size] * divisor, drawn.features[:, size] * divisor
    for found, expected in (
        (u.mean(axis=0), tokens * POOL.mean(axis=0) / np.sqrt(size)),
        (u.T @ u / len(u), tokens * (square.mean() * np.eye(size) + (tokens + 1) * outer)),
        (u.T @ v / len(u), tokens * (tokens + 2) * square @ POOL / (count * np.sqrt(size))),
        (np.mean(v**2), tokens * (tokens + 2) * np.mean(square**2)),
        (u.T @ drawn.task / len(u), tokens * outer),
    ):
        np.testing.assert_allclose(found, expected, atol=5e-3 * np.max(np.abs(expected)))


def own_tasks(size, context, rho, points):
    """Prompts with a task of their own, quasi-Monte Carlo in the tasks too."""
    uniform = np.clip(qmc.Sobol(2 * size + 2, rng=np.random.default_rng(5)).random(points), 1e-12, 1 - 1e-12)
    tasks = ndtri(uniform[:, :size]) / np.sqrt(size)
    length = np.linalg.norm(tasks, axis=1)
    direction = tasks / length[:, None]
    labels = chdtri(context, uniform[:, size])
    across = ndtri(uniform[:, size + 2 :])
    across -= np.sum(across * direction, axis=1)[:, None] * direction
    along = length * labels + np.sqrt(rho * labels) * ndtri(uniform[:, size + 1])
    label_square = (length**2 + rho) * labels
    features = np.column_stack([along[:, None] * direction + np.sqrt(label_square)[:, None] * across, label_square])
    return PoolPrompts(features=features / context, task=tasks)


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_one_task_a_prompt_is_the_theory_without_pools(tau):
    """The matrix equations at the law of own tasks give the two numbers of `finite_own_tasks`, solved by quadrature."""
    size, context, rho, ridge = 10, 20, 0.1, 0.1
    setting = module._Setting(size=size, prompts=tau * size**2, ridge0=ridge / size, unit=1.0, label_noise=rho)
    found = module._solve_one(own_tasks(size, context, rho, 1 << 16), setting)
    expected = solve_finite(
        dimension=size, task_diversity=tau, context_length=context / size, label_noise=rho, ridge=ridge
    )
    for name in ("m", "q", "e_train", "last_row", "replicon"):
        assert abs(found[name] / getattr(expected, name) - 1) < (20 if name == "last_row" else 1) * QUADRATURE, name
    assert abs(found["block_response"] / size / expected.chi - 1) < QUADRATURE
    assert abs(found["e_idg"] / expected.e_idg - 1) < QUADRATURE


def plain_solution(sample, setting):
    """The equations iterated as they are written, averages as sums over prompts and query nodes."""
    size, features, task = setting.size, sample.features, sample.task * np.sqrt(setting.size)
    nodes, weights = scalar_nodes(size, 0)
    count = len(features)

    def average(values):
        """E of (prompts, nodes, ...)."""
        return np.tensordot(weights, values.mean(axis=0), axes=1)

    response, square = np.eye(size + 1), nodes[None, :]
    outer = np.einsum("pa,pb->pab", features, features)
    for _ in range(400):
        om = 1 / (1 + np.einsum("pab,ab->p", outer, response)[:, None] * square / setting.prompts)
        weighted = np.tensordot(((om * square) @ weights) / count, outer, axes=1)
        response = np.linalg.inv(setting.ridge0 * np.eye(size + 1) + weighted / size)
    mean = response @ np.einsum("p,pa,pd->ad", (om * square) @ weights, features, task) / (count * size**1.5)
    miss = np.sum((task / np.sqrt(size) - features @ mean) ** 2, axis=1)[:, None] * square / size + setting.label_noise
    spread = np.zeros((size + 1, size + 1))
    for _ in range(400):
        error = miss + square * np.einsum("pab,ab->p", outer, spread)[:, None]
        kicks = np.tensordot(((om**2 * square * error) @ weights) / count, outer, axes=1)
        spread = response @ kicks @ response / (setting.prompts * size)
    block = slice(0, size)
    return {
        "m": np.trace(mean[block]) / size,
        "q": np.sum(mean[block] ** 2) / size + np.trace(spread[block, block]),
        "last_row": np.sum(mean[size] ** 2) + size * spread[size, size],
        "block_response": np.trace(response[block, block]) / size,
        "last_response": response[size, size],
        "e_train": average(om**2 * error),
        "e_idg": average(miss + square * np.einsum("pab,ab->p", outer, spread)[:, None]),
    }


def test_against_plain_iteration():
    """Newton and conjugate gradients against the slow obvious version, to rounding."""
    sample = pool_prompts(POOL[:, :5], context=6, divisor=6, label_noise=0.2, points=512, rng=np.random.default_rng(2))
    setting = module._Setting(size=5, prompts=60.0, ridge0=0.05, unit=1.0, label_noise=0.2)
    found, expected = module._solve_one(sample, setting), plain_solution(sample, setting)
    for name, value in expected.items():
        assert abs(found[name] / value - 1) < 1e-8, name


def test_free_energy_is_a_functional_of_which_the_rest_are_derivatives():
    """dF/dlam is half the mean of |W|^2/D, dF/dT minus the entropy: ties G, W, V, ln det A and e_train together."""
    size, step = POOL.shape[1], 1e-4
    for tau in (0.4, 2.0):
        point = POINT | {"task_diversity": tau}
        ridges = point["ridge"] * np.array([1, 1 + step, 1 - step])
        found = solve_given_pool(POOL, **(point | {"ridge": ridges}))
        slope = (found.free_energy[1] - found.free_energy[2]) / (2 * step * point["ridge"])
        tokens = float(found.context[0])
        _, _, block, last = generated_numpy.feature_moments(float(size), tokens, tokens, point["label_noise"])
        # g_2 from the Gibbs error, e_icl_gibbs - e_icl = (T/D)(block g_1 + last g_2), g_1 = D chi
        thermal = size * (found.e_icl_gibbs - found.e_icl)[0] - point["temperature"] * block * size * found.chi[0]
        expected = (found.q_self[0] + found.last_row[0] / size + thermal / last / size**2) / 2
        assert abs(slope / expected - 1) < DIFFERENCE
        temperatures = point["temperature"] * np.array([1, 1 + step, 1 - step])
        found = solve_given_pool(POOL, **(point | {"temperature": temperatures}))
        entropy = -(found.free_energy[1] - found.free_energy[2]) / (2 * step * point["temperature"])
        assert abs(entropy - found.entropy[0]) < DIFFERENCE


@pytest.mark.parametrize(("count", "size"), [(1, 4), (3, 6), (12, 5)])
def test_controls_have_mean_zero(count, size):
    """Over Gaussian pools: else the regression on them would shift every average."""
    rng = np.random.default_rng(7)
    values = np.array([module._controls(rng.standard_normal((count, size))) for _ in range(20000)])
    z = values.mean(axis=0) / (values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    assert np.all(np.abs(z) < Z_SCORE)


def test_error_bound_of_few_pools_covers_with_the_leverage_of_the_controls():
    """Averages of 12 pools by regression on 3 controls, 2000 times: Student's 95 % intervals cover 93 to 97 %.

    Halved, the bounds cover 72 %; without the leverage, the scatter of the controls' own means, 90 %.
    """
    rng, pools, covered = np.random.default_rng(8), 12, []
    limit = stats.t.ppf(0.975, pools - 4)
    for _ in range(2000):
        controls = rng.standard_normal((pools, 3))
        values = 2 + controls @ [0.3, -0.1, 0.2] + 0.1 * rng.standard_normal(pools)
        found = module._mean_over_pools({"m": values}, controls)
        covered.append(abs(found["m"] - 2) <= limit * found["error_bound"] * found["m"])
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("tau", "kappa", "ridge"), [(2.0, 0.5, 0.1), (0.6, 1.0, 0.05)])
def test_error_bound_covers_the_difference_to_the_mean_over_pools_of_our_own(tau, kappa, ridge):
    """The public result at D = 8 against `solve_given_pool` on 300 pools drawn here."""
    point = {"task_diversity": tau, "context_length": 2.0, "label_noise": 0.1, "ridge": ridge}
    found = solve(**point, dimension=8, distinct_tasks=kappa)
    rng = np.random.default_rng(9)
    pools = [solve_given_pool(rng.standard_normal((round(8 * kappa), 8)), **point) for _ in range(300)]
    for name in ("m", "q", "e_icl", "e_train"):
        values = np.array([float(getattr(one, name)) for one in pools])
        error = np.hypot(values.std(ddof=1) / np.sqrt(len(values)), float(found.error_bound) * values.mean())
        assert abs(float(getattr(found, name)) - values.mean()) < Z_SCORE * error, name


@pytest.mark.slow
def test_averages_are_consistent_with_many_more_pools(monkeypatch):
    """The standard error stated covers the difference to an average over 16 times as many other pools."""
    point = POINT | {"dimension": 8, "distinct_tasks": 0.75, "ridge": 0.3}
    few = solve_finite(**point)
    monkeypatch.setattr(module, "_POOLS_TIMES_DIMENSION", 16 * module._POOLS_TIMES_DIMENSION)
    monkeypatch.setattr(module, "_FEWEST_PROMPTS", 256)
    monkeypatch.setattr(module, "_PROMPTS_A_DIMENSION", 16)
    many = solve_finite(**point)
    assert many.error_bound < few.error_bound / 2
    for name in ("m", "q", "e_icl", "e_train"):
        assert abs(getattr(few, name) / getattr(many, name) - 1) < Z_SCORE * np.hypot(few.error_bound, many.error_bound)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"task_diversity": 0.5, "ridge": 0.02, "label_noise": 0.0}])
def test_becomes_the_theory_of_pools(changes):
    """value + b/D + c/D^2 through four sizes: the value is the saddle point's, the slope is not zero."""
    sizes = np.array([16, 24, 40, 64])
    point = {"distinct_tasks": 1.0} | POINT | changes
    finite, limit = solve_finite(dimension=sizes, **point), solve(**point)
    for name in ("m", "q", "e_icl", "e_train"):
        values = getattr(finite, name)
        weight = 1 / (finite.error_bound * values)
        design = np.vander(1 / sizes, 3, increasing=True)
        covariance = np.linalg.inv((design.T * weight**2) @ design)
        fitted = covariance @ (design.T * weight**2) @ values
        # error_bound is the largest of four: z is an underestimate, the slope's test the one with power
        assert abs(fitted[0] - getattr(limit, name)) < Z_SCORE * np.sqrt(covariance[0, 0]), name
    assert abs(finite.e_icl[0] / limit.e_icl - 1) > 10 * finite.error_bound[0]


def test_ridgeless_limit_on_both_sides():
    for tau in (0.5, 2.0, 5.0, 20.0):
        point = {"task_diversity": tau, "context_length": 2.0}
        limit = solve_given_pool(POOL, ridge=0.0, **point)
        nearly = solve_given_pool(POOL, ridge=1e-7, **point)
        for name in ("m", "q", "e_icl", "e_idg", "contrast", "replicon"):
            assert abs(getattr(limit, name) / getattr(nearly, name) - 1) < 1e-4, name
        assert np.isinf(limit.chi) == (tau < 1)
        assert limit.e_train == pytest.approx(nearly.e_train, abs=1e-6)


def test_divergences_are_a_status():
    single = {"dimension": 10, "distinct_tasks": 0.1, "context_length": 2.0, "ridge": 0.0}
    for changes in ({"task_diversity": 1.2}, {"task_diversity": 1.1, "distinct_tasks": 1.0}):
        found = solve_finite(**(single | changes))
        assert Status(int(found.status)) == Status.DIVERGES
        assert np.isnan(found.e_icl)
    equal = np.ones((3, 6))
    found = solve_given_pool(equal, task_diversity=2.0, context_length=2.0, ridge=0.0)
    assert Status(int(found.status)) == Status.NOT_FINITE
    assert np.isnan(found.m)
    assert solve_given_pool(equal, task_diversity=2.0, context_length=2.0, ridge=0.1).status == Status.CONVERGED


def test_grids_mix_pools_and_own_tasks(monkeypatch):
    monkeypatch.setattr(module, "_POOLS_TIMES_DIMENSION", 1)
    found = solve_finite(dimension=6, task_diversity=[[1.0], [2.0]], context_length=1.0, distinct_tasks=[0.5, np.inf])
    assert found.task_count.tolist() == [[3, 36], [3, 72]]
    assert np.isnan(found.error_bound).tolist() == [[False, True], [False, True]]
    alone = solve_finite(dimension=6, task_diversity=2.0, context_length=1.0)
    assert found.e_icl[1, 1] == pytest.approx(float(alone.e_icl), rel=1e-13)
    again = solve(dimension=6, task_diversity=2.0, context_length=1.0, distinct_tasks=0.5)
    assert again.e_icl == found.e_icl[1, 0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"distinct_tasks": 50.0}, "more tasks than P = 36 prompts"),
        ({"distinct_tasks": 0.01}, "distinct_tasks gives K"),
        ({"distinct_tasks": -1.0}, "distinct_tasks"),
        ({"distinct_tasks": np.nan}, "distinct_tasks"),
        ({"dimension": 3}, "dimension = 3"),
    ],
)
def test_bad_parameters(changes, words):
    with pytest.raises(ParameterError, match=words):
        solve_finite(
            **({"dimension": 6, "task_diversity": 1.0, "context_length": 1.0, "distinct_tasks": 1.0} | changes)
        )


def test_bad_pools():
    point = {"task_diversity": 0.5, "context_length": 1.0}
    for pool, words in (
        (np.ones(5), r"shape \(K, D\)"),
        (np.ones((0, 5)), "K >= 1"),
        (np.full((2, 5), np.nan), "finite"),
        (np.ones((2, 3)), "dimension = 3"),
        (np.ones((40, 5)), "smaller pool"),
        (np.zeros((2, 5)), "all zero"),
    ):
        with pytest.raises(ParameterError, match=words):
            solve_given_pool(pool, **point)
    with pytest.raises(ParameterTypeError, match="rectangular"):
        solve_given_pool([[1.0, 2.0], [3.0]], **point)
    with pytest.raises(ParameterTypeError, match="real"):
        solve_given_pool(np.ones((2, 5), dtype=complex), **point)
