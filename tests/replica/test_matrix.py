"""Law of singular values: what is proved is proved of something, and the law is that of random matrices."""

import numpy as np
import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.theories import matrix
from iclglass.replica.theories.matrix import singular_value_law


def test_without_signal_the_law_is_the_quarter_circle():
    law = singular_value_law()
    assert law.singular_value.subs(S.signal_ratio, 0) == S.law_node
    density = law.density.subs(S.law_high, law.high).subs({S.signal_ratio: 0, S.law_node: sp.sqrt(3)})
    assert density == 1 / sp.pi


def test_the_cubic_is_that_of_the_averaged_resolvent():
    """g = <x/(x^2 - s^2)> of matrices drawn at D = 400, at a complex x, against the root with w = x - g."""
    size, ratio, x = 400, 1.3, 1.1 + 0.4j
    draws = [ratio * np.eye(size) + np.random.default_rng(k).normal(size=(size, size)) / size**0.5 for k in range(4)]
    values = np.concatenate([np.linalg.svd(draw, compute_uv=False) for draw in draws])
    mean = np.mean(x / (x**2 - values**2))
    equation = singular_value_law().cubic.subs({S.signal_ratio: ratio})
    residual = complex(equation.subs({S.singular_value: x, S.shifted: x - mean}))
    assert abs(residual) < 5e-3
    assert abs(complex(equation.subs({S.singular_value: x, S.shifted: x - 1.1 * mean}))) > 5e-2


@pytest.mark.parametrize("part", ["singular_value", "overlap", "divergence", "high"])
def test_a_wrong_law_is_not_proved(part, monkeypatch):
    law_class = matrix.SingularValueLaw
    monkeypatch.setattr(matrix, "SingularValueLaw", lambda **parts: law_class(**{**parts, part: parts[part] * 2}))
    with pytest.raises(ArithmeticError, match="not proved"):
        matrix.singular_value_law.__wrapped__()
