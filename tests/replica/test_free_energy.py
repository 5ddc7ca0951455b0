"""The free-energy functional against the one written down by hand, and against its own stationarity."""

import mpmath
import sympy as sp

from iclglass.replica import symbols as S


def by_hand():
    """Copied from the project's theory notes, section 5."""
    screening = 1 + S.betahat * S.a * S.Delta / S.tau
    return (
        sp.log(2 * sp.pi * S.Delta) / 2
        + sp.Rational(1, 2)
        + (S.q - S.m**2) / (2 * S.Delta)
        - S.betahat * S.lam * (S.q + S.Delta) / 2
        - S.tau / 2 * sp.log(screening)
        - S.betahat / 2 * (1 + S.rho - 2 * S.m + S.a * S.q) / screening
    )


def test_functional_is_that_of_the_notes(derivation):
    assert sp.simplify(sp.expand_log(derivation.free_energy.functional - by_hand(), force=True)) == 0


def test_functional_has_no_other_symbols(derivation):
    expected = {S.m, S.q, S.Delta, S.betahat, S.lam, S.tau, S.a, S.rho}
    assert derivation.free_energy.functional.free_symbols == expected


def test_conjugate_fields_are_stationary(derivation):
    energy = derivation.free_energy
    at = dict(energy.conjugates)
    assert set(at) == {S.k_hat, S.q_hat, S.m_hat}
    for field in at:
        assert sp.simplify(sp.diff(energy.spins, field).subs(at)) == 0, field
    assert sp.simplify(sp.expand_log(energy.spins.subs(at) - energy.spin_part, force=True)) == 0


def test_functional_against_few_replicas(derivation):
    """(1/n) [ln det of explicit-n formulas] at n = 10^-20, without taking the limit symbolically."""
    numbers = {
        S.m: sp.Rational(2, 5),
        S.q: sp.Rational(2, 3),
        S.Delta: sp.Rational(3, 7),
        S.lam: sp.Rational(1, 2),
        S.betahat: sp.Integer(3),
        S.tau: sp.Rational(5, 3),
        S.a: sp.Rational(9, 4),
        S.rho: sp.Rational(1, 8),
    }
    with mpmath.workdps(60):
        value = {symbol: mpmath.mpf(number.p) / number.q for symbol, number in numbers.items()}
        m, q, delta, lam, beta, tau, a, rho = (
            value[s] for s in (S.m, S.q, S.Delta, S.lam, S.betahat, S.tau, S.a, S.rho)
        )
        g = beta / tau

        def replicated(n):
            # Spins: (1/2) ln det(Q - m m^T); prompts: ln det of the (n+1) x (n+1) matrix on its invariant subspaces,
            # n - 1 times the excess and a 2 x 2 block for label and (1..1).
            spins = (n - 1) * mpmath.log(delta) / 2 + mpmath.log(delta + n * (q - m**2)) / 2
            spins += n * (1 + mpmath.log(2 * mpmath.pi)) / 2 - beta * lam * n * (q + delta) / 2
            root = mpmath.sqrt(n)
            loss = mpmath.matrix([[n * g, -g * root], [-g * root, g]])
            covariance = mpmath.matrix([[1 + rho, root * m], [root * m, a * (delta + n * q)]])
            block = mpmath.det(mpmath.eye(2) + loss * covariance)
            prompts = -tau / 2 * ((n - 1) * mpmath.log(1 + g * a * delta) + mpmath.log(block))
            return spins + prompts

        n = mpmath.mpf(10) ** -20
        few = replicated(n) / n
        functional = mpmath.mpf(str(sp.N(derivation.free_energy.functional.subs(numbers), 50)))
        assert abs(few - functional) < mpmath.mpf(10) ** -18
