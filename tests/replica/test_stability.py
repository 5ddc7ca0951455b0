"""The replicon against the second variation of explicit 4 x 4 and 5 x 5 determinants."""

import pytest
import sympy as sp

from iclglass.replica import symbols as S

# Symmetric, zero diagonal, zero row sums: the smallest replicon direction.
REPLICON_DIRECTIONS = {
    "square": sp.Matrix([[0, 1, -1, 0], [1, 0, 0, -1], [-1, 0, 0, 1], [0, -1, 1, 0]]),
    "mixed": sp.Matrix([[0, 2, -3, 1], [2, 0, 1, -3], [-3, 1, 0, 2], [1, -3, 2, 0]]),
}
POINTS = [
    {"tau": sp.Rational(7, 3), "a": sp.Rational(9, 4), "chi": sp.Rational(5, 6), "betahat": sp.Rational(3, 2)},
    {"tau": sp.Rational(1, 3), "a": sp.Rational(5, 4), "chi": sp.Integer(4), "betahat": sp.Integer(7)},
]


def second_variations(direction, tau, a, chi, betahat):
    """d^2/dt^2 at t = 0 of both parts of the replicated action along Q + t eta, exactly."""
    t = sp.Symbol("t")
    size = direction.shape[0]
    m = chi / (1 + a * chi / tau)
    delta, q, rho, g = chi / betahat, m**2 + sp.Rational(2, 7), sp.Rational(1, 8), betahat / tau
    overlaps = delta * sp.eye(size) + q * sp.ones(size) + t * direction
    spins = sp.log((overlaps - m**2 * sp.ones(size)).det()) / 2
    covariance = sp.zeros(size + 1)
    covariance[0, 0] = 1 + rho
    for index in range(1, size + 1):
        covariance[0, index] = covariance[index, 0] = m
    covariance[1:, 1:] = a * overlaps
    loss = sp.zeros(size + 1)
    for index in range(1, size + 1):
        # (y - f^a)^2/2, summed over replicas.
        loss[0, 0] += g
        loss[index, index] += g
        loss[0, index] -= g
        loss[index, 0] -= g
    prompts = -tau / 2 * sp.log(sp.expand((sp.eye(size + 1) + loss * covariance).det(method="berkowitz")))
    return [sp.diff(part, t, 2).subs(t, 0) for part in (spins, prompts)], m


@pytest.mark.parametrize("name", REPLICON_DIRECTIONS)
@pytest.mark.parametrize("point", POINTS, ids=["above", "below"])
def test_replicon_is_the_second_variation(derivation, name, point):
    direction = REPLICON_DIRECTIONS[name]
    assert direction == direction.T
    assert direction * sp.ones(4, 1) == sp.zeros(4, 1)
    assert [direction[index, index] for index in range(4)] == [0] * 4
    (spins, prompts), m = second_variations(direction, **point)
    assert spins < 0
    ratio = (spins + prompts) / spins
    at = {S.tau: point["tau"], S.a: point["a"], S.m: m}
    assert sp.simplify(derivation.replicon.subs(at) - ratio) == 0


def test_other_directions_are_not_the_replicon(derivation):
    """A direction with nonzero row sums has another eigenvalue, so the test above can tell."""
    direction = sp.ones(4) - sp.eye(4)
    (spins, prompts), m = second_variations(direction, **POINTS[0])
    at = {S.tau: POINTS[0]["tau"], S.a: POINTS[0]["a"], S.m: m}
    assert sp.simplify(derivation.replicon.subs(at) - (spins + prompts) / spins) != 0


def test_replicon_of_the_notes(derivation):
    assert sp.simplify(derivation.replicon - (1 - S.a**2 * S.m**2 / S.tau)) == 0
