"""Numbers from the symbolic moments: against the notes' formulas and the large-D limit."""

import math

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.moments import feature_moments
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


def test_against_sampling():
    """The same prompts token by token at D = 3, N = 4: four z-scores, false alarm 3e-5 at 4.5."""
    rng = np.random.default_rng(3)
    size, tokens, noise, draws = 3, 4, 0.5, 200_000
    task, x, query = (rng.standard_normal(shape) for shape in ((draws, size), (draws, tokens, size), (draws, size)))
    y = np.einsum("pi,pki->pk", task, x) / math.sqrt(size) + math.sqrt(noise) * rng.standard_normal((draws, tokens))
    label = (task * query).sum(1) / math.sqrt(size) + math.sqrt(noise) * rng.standard_normal(draws)
    u, v = np.einsum("pk,pki->pi", y, x) / (tokens + 1), (y**2).sum(1) / (tokens + 1)
    moments = feature_moments(dimension=size, context=tokens, label_noise=noise, norm="N+1")
    samples = {
        "label": label**2,
        "signal": label * (u * query).sum(1),
        "block": size * (u**2).mean(1) * (query**2).mean(1),
        "last_row": v**2 * (query**2).mean(1),
    }
    for name, values in samples.items():
        z = (values.mean() - getattr(moments, name)) / (values.std(ddof=1) / math.sqrt(draws))
        assert abs(z) < 4.5, (name, z)


def test_large_dimension():
    moments = feature_moments(dimension=10**10, context=2 * 10**10, label_noise=0.4, norm="N+1")
    assert abs(moments.signal - 1) < LIMIT
    assert abs(moments.block / (1 + 1.4 / 2) - 1) < LIMIT
    assert abs(moments.last_row / 1.4**2 - 1) < LIMIT


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
