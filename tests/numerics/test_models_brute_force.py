"""T8: every shipped loss, labels, spins and penalty, at T > 0 and T -> 0, against brute force at random points.

The two sides do not know each other: a (spins, loss) pair is its two sides, so each side is tested with each of its
own choices. The functional is a sum of both and of what couples them, so that of every pair is stationary where its
two halves are. Pairs themselves, at more points: tests/numerics/test_model_pairs.py.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy import integrate
from scipy.optimize import minimize_scalar

from iclglass.numerics.lowering.compiled import compiled
from iclglass.replica.model import linear_attention
from tests.numerics.model_reference import Prompts, Spins, coupled, loss_of
from tests.tolerances import BRUTE_FORCE, STATIONARY

SHIPPED_LOSSES = [
    *product(("squared_error", "absolute_error", "huber"), ("linear", "sign")),
    ("log_loss", "sign"),
    ("hinge", "sign"),
]
SHIPPED_SPINS = [
    *product(("real", "nonnegative"), ("ridge", "lasso", "elastic_net")),
    *product(("binary", "ternary", "integer"), ("ridge",)),
]
TEMPERATURES = (0.0, 1.0)
"""T -> 0, and a factor on a random T > 0."""


def prompts_at(loss, labels, warm, rng):
    m, spread = rng.uniform(0.1, 0.8), rng.uniform(0.05, 1)
    return Prompts(
        loss,
        labels,
        tau=rng.uniform(0.3, 3),
        alpha=rng.uniform(0.5, 5),
        rho=rng.uniform(0, 0.5),
        T=warm * rng.uniform(0.1, 1),
        m=m,
        q=m**2 + spread,
        chi=rng.uniform(0.2, 3),
        threshold=rng.uniform(0.3, 2),
    )


def spins_at(spins, penalty, warm, rng):
    K, M, Q = rng.uniform(0.3, 2, 3)
    lam, l1 = rng.uniform(0.1, 1, 2)
    return Spins(
        spins,
        T=warm * rng.uniform(0.1, 1),
        K=K,
        M=M,
        Q=Q,
        lam=lam * (penalty != "lasso"),
        l1=l1 * (penalty != "ridge"),
        spacing=rng.uniform(0.5, 1.5),
    )


@cache
def system_of(loss, labels, spins, penalty, thermal):
    return compiled(linear_attention(loss=loss, labels=labels, spins=spins, penalty=penalty), thermal=thermal)


def point_of(prompts, spins):
    """As the package takes it."""
    numbers = {name: getattr(prompts, name) for name in ("tau", "alpha", "rho", "T", "m", "q", "chi")}
    numbers |= {name: getattr(spins, name) for name in ("K", "M", "Q", "lam", "l1", "spacing")}
    numbers |= {"alpha_test": prompts.alpha, "huber_threshold": prompts.threshold}
    return {name: np.array([number]) for name, number in numbers.items()}


def agree(found, wanted, tolerance=BRUTE_FORCE):
    for (name, value), number in zip(found.items(), wanted, strict=True):
        assert abs(value[0] - number) <= tolerance * max(1, abs(number)), (name, value[0], number)


def check_prompts(loss, labels, warm, seed, count):
    rng = np.random.default_rng(seed)
    system = system_of(loss, labels, "real", "ridge", warm > 0)
    for _ in range(count):
        prompts = prompts_at(loss, labels, warm, rng)
        spins = replace(spins_at("real", "ridge", warm, rng), T=prompts.T)
        agree(system.fields(point_of(prompts, spins)), prompts.fields())


def check_spins(spins_name, penalty, warm, seed, count):
    rng = np.random.default_rng(seed)
    system = system_of("squared_error", "linear", spins_name, penalty, warm > 0)
    for _ in range(count):
        spins = spins_at(spins_name, penalty, warm, rng)
        prompts = replace(prompts_at("squared_error", "linear", warm, rng), T=spins.T)
        agree(system.answers(point_of(prompts, spins)), spins.answers())


@pytest.mark.parametrize("warm", TEMPERATURES)
@pytest.mark.parametrize(("loss", "labels"), SHIPPED_LOSSES)
def test_fields_of_prompts(loss, labels, warm):
    check_prompts(loss, labels, warm, seed=1, count=2)


@pytest.mark.parametrize("warm", TEMPERATURES)
@pytest.mark.parametrize(("spins", "penalty"), SHIPPED_SPINS)
def test_answers_of_spins(spins, penalty, warm):
    check_spins(spins, penalty, warm, seed=2, count=2)


def slope(function, at):
    """Central difference of fourth order."""
    step = 2e-3 * max(1, abs(at))
    values = [function(at + k * step) for k in (-2, -1, 1, 2)]
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)


def stationary_in_order_parameters(loss, labels, warm, rng):
    """Slopes of the functional by q, m and chi at the package's K, M and Q."""
    prompts = prompts_at(loss, labels, warm, rng)
    spins = replace(spins_at("real", "ridge", warm, rng), T=prompts.T)
    fields = system_of(loss, labels, "real", "ridge", warm > 0).fields(point_of(prompts, spins))
    spins = replace(spins, **{name: value[0] for name, value in fields.items()})
    for name in ("q", "m", "chi"):
        moved = slope(
            lambda value, name=name: coupled(replace(prompts, **{name: value}), spins), getattr(prompts, name)
        )
        own = slope(lambda value, name=name: replace(prompts, **{name: value}).free(), getattr(prompts, name))
        assert abs(moved + own) < STATIONARY, name


def stationary_in_fields(spins_name, penalty, warm, rng):
    """Slopes of the functional by K, M and Q at the package's m, q and chi."""
    spins = spins_at(spins_name, penalty, warm, rng)
    prompts = replace(prompts_at("squared_error", "linear", warm, rng), T=spins.T)
    answers = system_of("squared_error", "linear", spins_name, penalty, warm > 0).answers(point_of(prompts, spins))
    prompts = replace(prompts, **{name: value[0] for name, value in answers.items()})
    for name in ("K", "M", "Q"):
        moved = slope(lambda value, name=name: coupled(prompts, replace(spins, **{name: value})), getattr(spins, name))
        own = slope(lambda value, name=name: replace(spins, **{name: value}).free(), getattr(spins, name))
        assert abs(moved + own) < STATIONARY, name


@pytest.mark.parametrize("warm", TEMPERATURES)
def test_functional_is_stationary_at_the_step(warm):
    rng = np.random.default_rng(3)
    for choice in SHIPPED_LOSSES:
        stationary_in_order_parameters(*choice, warm, rng)
    for choice in SHIPPED_SPINS:
        stationary_in_fields(*choice, warm, rng)


@pytest.mark.parametrize("warm", TEMPERATURES)
def test_the_packages_functional_is_the_brute_force_one(warm):
    """At points that solve nothing, for four pairs."""
    rng = np.random.default_rng(7)
    pairs = list(product(SHIPPED_LOSSES, SHIPPED_SPINS))
    for number in rng.choice(len(pairs), 4, replace=False):
        (loss, labels), (spins_name, penalty) = pairs[number]
        prompts = prompts_at(loss, labels, warm, rng)
        spins = replace(spins_at(spins_name, penalty, warm, rng), T=prompts.T)
        system = system_of(loss, labels, spins_name, penalty, warm > 0)
        found = system.observables(point_of(prompts, spins), 2.0)["free_energy"][0]
        wanted = coupled(prompts, spins) + spins.free() + prompts.free()
        assert abs(found - wanted) < 10 * BRUTE_FORCE * max(1, abs(wanted)), (loss, labels, spins_name, penalty)


# --- the reference itself, in one or two cases, by scipy ------------------------------------------------------------


def test_reference_prompts_by_scipy():
    """The fields of log loss at T by integrals over (t, w) and f as they are written."""
    rng = np.random.default_rng(5)
    prompts = replace(prompts_at("log_loss", "sign", 1.0, rng), rho=0.0)
    value, _, _ = loss_of("log_loss", 1.0)
    cross, variance, c = prompts.kappa1 * prompts.m, prompts.a * prompts.q, prompts.leverage
    temperature = prompts.tau * prompts.T

    @cache
    def pull(y, omega):
        def weight(f):
            return np.exp(-(value(y, f) + (f - omega) ** 2 / (2 * c)) / temperature)

        reach = 10 * np.sqrt(c * temperature) + c
        moments = [
            integrate.quad(lambda f: f**k * weight(f), omega - reach, omega + reach, epsabs=1e-13)[0]  # noqa: B023
            for k in (0, 1)
        ]
        return (moments[1] / moments[0] - omega) / c

    left = 1 - cross**2 / variance

    def over(function):
        """t given w is normal; w is normal."""
        total = 0.0
        for y, low, high in ((-1, -9, 0), (1, 0, 9)):

            def inner(omega, y=y, low=low, high=high):
                def integrand(t):
                    law = np.exp(-((t - cross / variance * omega) ** 2) / (2 * left)) / np.sqrt(2 * np.pi * left)
                    return function(t, omega) * law

                part = integrate.quad(integrand, low, high, epsabs=1e-12, limit=200)[0]
                return part * np.exp(-(omega**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)

            reach = 8 * np.sqrt(variance)
            total += integrate.quad(lambda w: pull(y, w) * inner(w), -reach, reach, epsabs=1e-10, limit=200)[0]  # noqa: B023
        return total

    with_t, with_omega, _, _ = prompts.averages()
    assert abs(over(lambda t, w: t) - with_t) < 1e-8
    assert abs(over(lambda t, w: w) - with_omega) < 1e-8


def test_reference_spins_by_scipy():
    """The lasso at T = 0 by minimisation and plain quadrature."""
    spins = spins_at("real", "elastic_net", 0.0, np.random.default_rng(6))

    def settle(z):
        h = np.sqrt(spins.Q) * z
        energy = lambda s: (spins.lam + spins.K) * s**2 / 2 + spins.l1 * abs(s) - h * s  # noqa: E731
        return minimize_scalar(energy, bracket=(-1.0, 1.0), tol=1e-10).x

    def integrand(z):
        return settle(z) ** 2 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

    kink = spins.l1 / np.sqrt(spins.Q)
    square = integrate.quad(integrand, -9, 9, points=[-kink, kink], epsabs=1e-11, limit=200)[0]
    assert abs(square - spins.averages()[0]) < 1e-7
