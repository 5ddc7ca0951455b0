"""Sign labels: the O(D) law is that of the tokens, and linear labels keep their numbers."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.validation.observables import measure
from iclglass.validation.prompts import draw_prompts
from tests.validation.scores import z_of


def draw(method, seed, **law):
    law = {"dimension": 3, "context": 4, "prompts": 40_000, "label_noise": 0.3, "labels": "sign"} | law
    return draw_prompts(**law, method=method, rng=np.random.default_rng(seed))


@pytest.mark.parametrize(
    "law", [{}, {"label_noise": 0.0}, {"context": 1}, {"token_covariance": np.diag([2, 0.5, 0.5])}]
)
def test_the_reduced_law_is_that_of_the_tokens(law):
    first, second = (draw(method, seed, **law) for method, seed in (("reduced", 1), ("tokens", 2)))
    np.testing.assert_array_equal(np.unique(first.label), [-1, 1])
    norm = first.context_count
    np.testing.assert_array_equal(first.context[:, -1], 1.0)  # N/norm
    scores = []
    for name, power in (("pull", 1), ("square", 2), ("block", 2), ("block", 4)):
        values = []
        for data in (first, second):
            block = data.context[:, :-1] * norm**0.5
            pulled = data.label * np.einsum("pd,pd->p", block, data.query)
            values.append(pulled**power if name in ("pull", "square") else np.sum(block**power, axis=1))
        scores.append(z_of(values[0] - values[1]))
    assert np.max(np.abs(scores)) < 4


def test_mean_context_given_the_task():
    # E u = kappa1 w/sqrt(D), kappa1 = E|y-field| = sqrt(2/pi)/sqrt(|w|^2/D + rho)
    pool = np.array([[1.0, 2.0, -1.0]])
    data = draw("reduced", 3, tasks=pool)
    expected = np.sqrt(2 / np.pi / (np.sum(pool**2) / 3 + 0.3)) * pool[0] / np.sqrt(3)
    error = np.std(data.context[:, :-1], axis=0) / np.sqrt(data.prompts)
    assert np.max(np.abs(np.mean(data.context[:, :-1], axis=0) - expected) / error) < 4


def test_tasks_and_queries_are_those_of_linear_labels():
    sign = draw("reduced", 4)
    linear = draw("reduced", 4, labels="linear")
    np.testing.assert_array_equal(sign.query, linear.query)
    np.testing.assert_array_equal(sign.label, np.sign(linear.label))


def test_errors_of_linear_labels_are_refused():
    with pytest.raises(ParameterError, match="linear labels"):
        measure(draw("reduced", 5, prompts=30), ridge=0.1)
    with pytest.raises(ParameterError, match="labels"):
        draw("reduced", 6, labels="probit")
