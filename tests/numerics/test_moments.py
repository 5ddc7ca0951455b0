"""Numbers from the symbolic moments: against the notes' formulas and the large-D limit."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.moments import feature_moments, prompt_moments
from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention
from iclglass.replica.moments import expectation
from tests.tolerances import KNOWN_VALUE, LIMIT


@pytest.mark.parametrize("norm", ["N", "N+1"])
@pytest.mark.parametrize(("dimension", "context", "noise"), [(1, 1, 0.0), (4, 5, 0.3), (20, 100, 2.0), (50, 3, 0.0)])
def test_by_hand(dimension, context, noise, norm):
    """E over a chi-square: given |w|^2/D = t, labels have variance v = t + rho.

    block: D E[u_i^2] with E[u_i^2 | w] = (N/norm^2) (v + (N + 1) w_i^2/D); last row: E[(sum y^2)^2] = N (N + 2) E[v^2].
    """
    factor = context / (context if norm == "N" else context + 1) ** 2
    moments = feature_moments(dimension=dimension, context=context, label_noise=noise, norm=norm)
    block = factor * dimension * ((1 + noise) + (context + 1) / dimension)
    second = 1 + 2 / dimension + 2 * noise + noise**2
    assert moments.label == pytest.approx(1 + noise, rel=KNOWN_VALUE)
    assert moments.signal == pytest.approx(context * math.sqrt(factor / context), rel=KNOWN_VALUE)
    assert moments.block == pytest.approx(block, rel=KNOWN_VALUE)
    assert moments.last_row == pytest.approx(factor * (context + 2) * second, rel=KNOWN_VALUE)


def test_large_dimension():
    moments = feature_moments(dimension=10**10, context=2 * 10**10, label_noise=0.4, norm="N+1")
    assert abs(moments.signal - 1) < LIMIT
    assert abs(moments.block / (1 + 1.4 / 2) - 1) < LIMIT
    assert abs(moments.last_row / 1.4**2 - 1) < LIMIT


@pytest.fixture(scope="module")
def given_a_task():
    """Moments of one prompt by `replica.moments`, with w not random, as functions of w, D, N, norm and rho."""
    model = linear_attention()
    random = {base: variance for base, variance in model.variances.items() if base != S.w}
    i, j, k = sp.symbols("i j k", integer=True)
    s, last = model.block("block").feature_at, model.block("last row").feature_at
    products = {
        "signal": model.label * s(i, k),
        "last signal": model.label * last(k),
        "block": s(i, k) * s(j, k),
        "edge": s(i, k) * last(k),
        "corner": last(k) ** 2,
    }
    return (i, j, k), {name: expectation(product, random) for name, product in products.items()}


@pytest.mark.parametrize("sizes", [(2, 1, 1), (2, 3, 4), (3, 2, 2)], ids=str)
def test_prompts_of_given_tasks_are_those_of_the_symbolic_layer(given_a_task, sizes):
    """Polynomials of second degree in N and in s2, for a pool of two tasks: exact fractions."""
    (i, j, k), derived = given_a_task
    size, tokens, norm = sizes
    tasks, rho = np.array([[3.0, -1.0, 2.0], [0.5, 2.0, -1.0]])[:, :size], 0.25
    squares = (tasks**2).mean(1) + rho
    numbers = {S.D: size, S.N: tokens, S.norm: norm, S.rho: sp.Rational(rho)}

    def exact(name, row=1, column=1, query=1):
        explicit = derived[name].subs({i: row, j: column, k: query}).subs(numbers).doit()
        return np.mean([float(explicit.xreplace({S.w[e + 1]: w for e, w in enumerate(task)})) for task in tasks])

    signal, second = prompt_moments(
        tasks.T @ tasks / (2 * size),
        squares.mean(),
        squares @ tasks / (2 * math.sqrt(size)),
        (squares**2).mean(),
        context=tokens,
        divisor=norm,
        last_scale=1.0,
    )
    for row, column in itertools.product(range(1, size + 1), repeat=2):
        assert second[row - 1, column - 1] == pytest.approx(exact("block", row, column), rel=KNOWN_VALUE), (row, column)
        # E[y s_ij] is E[u_i w_j]/sqrt(D).
        assert signal[row - 1, column - 1] == pytest.approx(exact("signal", row, query=column), rel=KNOWN_VALUE)
    for row in range(1, size + 1):
        assert second[row - 1, size] == pytest.approx(exact("edge", row), rel=KNOWN_VALUE)
        assert signal[size, row - 1] == pytest.approx(exact("last signal", query=row), rel=KNOWN_VALUE)
    assert second[size, size] == pytest.approx(exact("corner"), rel=KNOWN_VALUE)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dimension": 0}, ParameterError, "dimension must be at least 1, got 0"),
        ({"context": True}, ParameterTypeError, "context must be an integer, got bool True"),
        ({"label_noise": -0.1}, ParameterError, r"label_noise .*-0\.1"),
        ({"norm": "n"}, ParameterError, "norm must be one of N, N\\+1, got 'n'"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        feature_moments(**{"dimension": 4, "context": 5, "label_noise": 0.0, "norm": "N", **change})
