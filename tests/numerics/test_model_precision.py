"""Digits of chosen models against closed forms and other integrals, in mpmath."""

import mpmath
import pytest
import sympy as sp

import iclglass
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.precision import solve_digits
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.status import Status
from iclglass.replica import symbols as S

mp = mpmath.mp


def near(text, exact, digits):
    return abs(mpmath.mpf(text) / exact - 1) < mpmath.mpf(10) ** (1 - digits)


def lasso(tau, alpha, rho, l1):
    """m, q, chi by error functions: soft thresholding of a normal field."""
    a = 1 + (1 + rho) / alpha

    def answers(q, chi):
        screening = 1 / (1 + a * chi / tau)
        K, Q = a * screening, a / tau * screening**2 * (1 + rho - 2 / a + a * q)
        kink = l1 / mp.sqrt(Q)
        share = mp.erfc(kink / mp.sqrt(2))
        square = (Q + l1**2) * share - 2 * l1 * mp.sqrt(Q) * mp.npdf(kink)
        return 1 / a**2 + square / K**2, share / K

    q, chi = mpmath.findroot(
        lambda q, chi: [found - x for found, x in zip(answers(q, chi), (q, chi), strict=True)], (0.5, 0.5)
    )
    return 1 / a, q, chi


def test_lasso_has_the_digits_of_its_closed_form():
    with mp.workdps(50):
        exact = lasso(mp.mpf(1), mp.mpf(2), mp.mpf("0.3"), mp.mpf("0.5"))
        found = solve_digits(digits=30, task_diversity=1, context_length=2, label_noise="0.3", ridge=0, l1="0.5")
        assert found.status == Status.CONVERGED
        for name, value in zip(("m", "q", "chi"), exact, strict=True):
            assert near(found.values[name], value, 30), name
            assert not near(found.values[name], value * (1 + mp.mpf(10) ** -28), 30), name
    # Nothing was given for the ridge: beside a lasso there is none.
    assert (
        solve_digits(digits=30, task_diversity=1, context_length=2, label_noise="0.3", l1="0.5").values == found.values
    )


@pytest.mark.slow
def test_log_loss_solves_its_equations_to_twenty_digits():
    """Averages over f instead of f_cav = f + c l'(f): no prediction is solved for."""
    found = solve_digits(digits=24, task_diversity=2, context_length=2, ridge="0.1", labels="sign", loss="log_loss")
    with mp.workdps(32):
        m, q, chi = (mp.mpf(found.values[name]) for name in ("m", "q", "chi"))
        kappa1, tau = mp.sqrt(2 / mp.pi), mp.mpf(2)
        a = kappa1**2 + mp.mpf(1) / 2
        c, cross, variance = a * chi / tau, kappa1 * m, a * q
        left = mp.sqrt(1 - cross**2 / variance)

        def over(function):
            def integrand(f):
                slope = -1 / (1 + mp.exp(f))
                bend = -slope * (1 + slope)
                w = f + c * slope
                u = cross * w / variance / left
                law = mp.exp(-(w**2) / (2 * variance)) / mp.sqrt(2 * mp.pi * variance) * (1 + c * bend)
                return law * function(2 * mp.ncdf(u), 2 * mp.npdf(u) * left + cross / variance * w * 2 * mp.ncdf(u),
                                      -slope, -bend / (1 + c * bend))  # fmt: skip

            return mpmath.quad(integrand, mpmath.linspace(-16, 20, 13))

        mean_slope = over(lambda share, t, pull, slope: share * slope)
        K = -a * mean_slope
        M = kappa1 * (over(lambda share, t, pull, slope: t * pull) - cross * mean_slope)
        Q = a / tau * over(lambda share, t, pull, slope: share * pull**2)
        stiffness = K + mp.mpf("0.1")
        for name, value in {"m": M / stiffness, "q": (M**2 + Q) / stiffness**2, "chi": 1 / stiffness}.items():
            assert near(found.values[name], value, 21), name


@pytest.mark.parametrize(
    "chosen",
    [
        {"loss": "huber", "huber_threshold": 0.5},
        {"spins": "nonnegative", "l1": 0.25, "ridge": 0.125},
        {"loss": "absolute_error", "l1": 0.25},
    ],
    ids=str,
)
def test_digits_begin_as_double_precision(chosen):
    point = {"task_diversity": 2.0, "context_length": 2.0, "label_noise": 0.25, **chosen}
    rough, found = solve(**point), solve_digits(digits=20, **point)
    for name, text in found.values.items():
        if text is not None:
            assert float(text) == pytest.approx(float(getattr(rough, name)), rel=1e-9, abs=1e-12), name


def test_what_vanishes_is_zero_at_any_number_of_digits():
    """Absolute errors with a lasso alone are marginal: the replicon is a difference that vanishes."""
    found = solve_digits(digits=20, task_diversity=2, context_length=2, loss="absolute_error", l1="0.3")
    assert found.values["replicon"] == "0.0"
    assert found.status == Status.CONVERGED


OWN = {
    "task_diversity": 2,
    "context_length": 2,
    "model": iclglass.Model(loss=sp.log(sp.cosh(S.y - S.f)), penalty=S.lam * S.scaled_spin**2 / 2),
}


@pytest.mark.slow
def test_own_models_have_digits():
    found = solve_digits(digits=16, ridge=0.5, **OWN)
    assert float(found.values["q"]) == pytest.approx(float(solve(ridge=0.5, **OWN).q), rel=1e-10)


def test_what_has_no_digits_is_refused_with_the_reason():
    wells = iclglass.Model(loss=(S.y - S.f) ** 2, penalty=sp.Min((S.scaled_spin - 1) ** 2, (S.scaled_spin + 1) ** 2))
    with pytest.raises(ParameterError, match="must be convex"):
        solve_digits(digits=16, task_diversity=2, context_length=2, model=wells)
    with pytest.raises(ParameterError, match="at most 200"):
        solve_digits(digits=300, ridge=0.5, **OWN)
