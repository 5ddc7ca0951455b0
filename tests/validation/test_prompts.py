"""The O(D) law of a prompt is the law of its tokens; and a law that differs is caught."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

from iclglass.numerics.moments import feature_moments
from iclglass.validation.prompt_blocks import PromptBlocks
from iclglass.validation.prompts import Prompts, draw_prompts
from iclglass.validation.statistics import bonferroni_threshold
from tests.validation.scores import z_of

FALSE_ALARM = 0.01  # of each test below, over all its comparisons together
COUNT = 40_000
LOWER = np.array([[1.2, 0.0, 0.0], [0.6, 0.9, 0.0], [-0.4, 0.3, 0.7]])
COVARIANCE = LOWER @ LOWER.T
NAMES = ("dimension", "context", "label_noise", "norm", "token_covariance")
CASES = [
    dict(zip(NAMES, values, strict=False))
    for values in (
        (2, 1, 0.3, "N"),
        (3, 4, 0.0, "N+1"),
        (5, 3, 0.5, "N"),
        (4, 12, 2.0, "N+1"),
        (3, 1, 0.0, "N"),  # (y x, y^2): the ratio of the two is the token's length
        (3, 4, 0.3, "N", COVARIANCE),
    )
]


def draw(case, method: str, seed: int, count: int = COUNT) -> Prompts:
    return draw_prompts(**case, prompts=count, method=method, rng=np.random.default_rng(seed))


def statistics_of(data: Prompts) -> dict[str, np.ndarray]:
    """One number a prompt each, which together tell laws of (block, last entry, query, label) apart."""
    block, last = data.context[:, :-1], data.context[:, -1]
    square = np.sum(block**2, axis=1)
    score = np.sum(block * data.query, axis=1)
    return {
        "first component": block[:, 0],
        "last": last,
        "block length": np.sqrt(square),
        "query length": np.sqrt(np.sum(data.query**2, axis=1)),
        "label": data.label,
        "score": score,
        "score label": score * data.label,
        "ratio": last / np.sqrt(square),
        "residual": data.label - score,
    }


def moments_of(data: Prompts) -> dict[str, np.ndarray]:
    found = statistics_of(data)
    square, last, label = found["block length"] ** 2, found["last"], found["label"]
    return {
        **found,
        "square": square,
        "last^2": last**2,
        "label^2": label**2,
        "square last": square * last,
        "square label^2": square * label**2,
        "last label^2": last * label**2,
        "score^2": found["score"] ** 2,
        "cross components": data.context[:, 0] * data.context[:, 1] * data.query[:, 0] * data.query[:, 1],
    }


def worst_z(one: Prompts, two: Prompts) -> float:
    """Largest two-sample |z| over the family of moments."""
    z = []
    for first, second in zip(moments_of(one).values(), moments_of(two).values(), strict=True):
        error = np.sqrt(first.var(ddof=1) / first.size + second.var(ddof=1) / second.size)
        z.append(abs(first.mean() - second.mean()) / error)
    return max(z)


def smallest_p(one: Prompts, two: Prompts) -> float:
    """Smallest Kolmogorov-Smirnov p-value over the projections."""
    pairs = zip(statistics_of(one).values(), statistics_of(two).values(), strict=True)
    return min(float(stats.ks_2samp(first, second).pvalue) for first, second in pairs)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Prompts, Prompts]]:
    return [(draw(case, "tokens", 2 * index), draw(case, "reduced", 2 * index + 1)) for index, case in enumerate(CASES)]


def test_moments_of_the_two_laws_agree(pairs):
    threshold = bonferroni_threshold(FALSE_ALARM, len(CASES) * len(moments_of(pairs[0][0])))
    assert max(worst_z(one, two) for one, two in pairs) < threshold


def test_distributions_of_the_two_laws_agree(pairs):
    level = FALSE_ALARM / (len(CASES) * len(statistics_of(pairs[0][0])))
    assert min(smallest_p(one, two) for one, two in pairs) > level


@pytest.mark.parametrize(
    "wrong", ["last entry independent", "orthogonal part too long", "less noise", "transposed factor"]
)
def test_a_wrong_law_is_caught(pairs, wrong):
    number = 5 if wrong == "transposed factor" else 2
    case, (tokens, reduced) = CASES[number], pairs[number]
    context = reduced.context.copy()
    if wrong == "last entry independent":  # right marginals, wrong joint law
        context[:, -1] = np.roll(context[:, -1], 1)
    elif wrong == "orthogonal part too long":  # as if not projected orthogonal to the task: one more component
        extra = np.random.default_rng(9).standard_normal(COUNT)
        context[:, 0] += extra * np.sqrt(context[:, -1] / case["context"])
    reduced = replace(reduced, context=context)
    if wrong == "less noise":
        reduced = draw(case | {"label_noise": 0.45}, "reduced", 5)
    if wrong == "transposed factor":
        reduced = draw(case | {"token_covariance": LOWER.T @ LOWER}, "reduced", 5)
    assert worst_z(tokens, reduced) > bonferroni_threshold(FALSE_ALARM, len(moments_of(tokens)))
    assert smallest_p(tokens, reduced) < FALSE_ALARM / len(statistics_of(tokens))


@pytest.mark.parametrize("method", ["reduced", "tokens"])
def test_second_moments_are_the_exact_ones(method):
    z = []
    for index, case in enumerate(CASES[:4]):
        exact = feature_moments(**case)
        data = draw(case, method, 100 + index)
        block = data.context[:, :-1]
        z += [
            z_of(data.label * np.sum(block * data.query, axis=1), float(exact.signal)),
            z_of(np.sum(block**2, axis=1) * np.sum(data.query**2, axis=1) / case["dimension"], float(exact.block)),
            z_of(data.context[:, -1] ** 2, float(exact.last_row)),
            z_of(data.label**2, float(exact.label)),
        ]
    assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, len(z))


@pytest.mark.parametrize("method", ["reduced", "tokens"])
def test_second_moments_of_correlated_tokens(method):
    """E x x^T = C for the query, and E[y_t u_i x_j] = (C C)_ij/D, by Wick: E[y_t x_j | w] = (C w)_j/sqrt(D)."""
    data = draw(CASES[5], method, 22)
    squares = np.einsum("pi,pj->pij", data.query, data.query)
    signal = np.einsum("p,pi,pj->pij", data.label, data.context[:, :-1], data.query)
    z = [z_of(squares, COVARIANCE), z_of(signal, COVARIANCE @ COVARIANCE / 3)]
    assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, 18)
    np.testing.assert_array_equal(data.token_covariance, COVARIANCE)


def test_the_identity_as_covariance_changes_nothing():
    one, two = (
        draw({**CASES[1], "token_covariance": given}, "reduced", 1, 5) for given in (None, np.eye(3, dtype=int))
    )
    for name in ("context", "query", "label"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-14)


def test_same_stream_same_prompts_and_properties():
    one, two = (draw(CASES[2], "reduced", 3, count=7) for _ in range(2))
    np.testing.assert_array_equal(one.context, two.context)
    assert (one.dimension, one.prompts, one.spins, one.context_count) == (5, 7, 30, 3)


LAW = {"dimension": 3, "context": 4, "prompts": 5}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dimension": 1}, ValueError, "dimension must be at least 2 .*orthogonal"),
        ({"dimension": 3.5}, ValueError, "dimension must be a whole number, got 3.5"),
        ({"dimension": "3"}, TypeError, "dimension must be an integer"),
        ({"dimension": True}, TypeError, "dimension must be an integer"),
        ({"context": 0}, ValueError, "context must be at least 1"),
        ({"prompts": 0}, ValueError, "prompts must be at least 1"),
        ({"prompts": 10**16}, ValueError, "prompts must be at most"),
        ({"prompts": float("nan")}, ValueError, "prompts must be a whole number"),
        ({"label_noise": -0.1}, ValueError, "label_noise must be finite and >= 0"),
        ({"label_noise": float("inf")}, ValueError, "label_noise must be finite"),
        ({"norm": "n"}, ValueError, "norm must be one of N, N\\+1"),
    ],
)
def test_a_law_out_of_range_is_refused(change, error, message):
    for way in (partial(draw_prompts, rng=np.random.default_rng(0)), partial(PromptBlocks, seed=0)):
        with pytest.raises(error, match=message):
            way(**LAW | change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "dense"}, ValueError, "method must be one of"),
        ({"rng": 3}, TypeError, "rng must be a numpy.random.Generator"),
        ({"token_covariance": np.eye(2)}, ValueError, r"token_covariance must have shape \(3, 3\), got \(2, 2\)"),
        ({"token_covariance": np.tri(3)}, ValueError, "token_covariance must be symmetric"),
        ({"token_covariance": np.diag([1, 1, -1])}, ValueError, "positive definite, its smallest eigenvalue is -1"),
        ({"token_covariance": np.full((3, 3), np.nan)}, ValueError, "token_covariance must be finite"),
        ({"token_covariance": np.eye(3) * 1j}, TypeError, "token_covariance must be a real number"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        draw_prompts(**LAW | {"rng": np.random.default_rng(0)} | change)
