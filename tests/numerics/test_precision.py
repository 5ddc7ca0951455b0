"""solve_digits(...) against the independent high-precision road."""

from decimal import Decimal
from fractions import Fraction

import mpmath
import pytest

from iclglass.numerics.precision import solve_digits
from iclglass.numerics.solution import OBSERVABLES
from iclglass.numerics.status import Status
from tests.numerics import reference
from tests.numerics.points import NAMES, random_points

POINTS = random_points(11, 25)[:, :6]


def agrees(text, exact, digits):
    """To the last digit printed, which may be rounded."""
    if text is None:
        return mpmath.isnan(exact) or mpmath.isinf(exact)
    with mpmath.workdps(digits + 20):
        return abs(mpmath.mpf(text) - exact) <= abs(exact) * mpmath.mpf(10) ** (1 - digits)


@pytest.mark.parametrize("digits", [1, 15, 40, 60])
def test_every_quantity_to_the_last_digit(digits):
    for point in POINTS:
        exact = reference.saddle_point(*map(float, point), digits=120)
        solution = solve_digits(digits=digits, **dict(zip(NAMES, map(float, point), strict=False)))
        assert solution.status == Status.CONVERGED
        assert solution.digits == digits
        assert set(solution.values) == set(OBSERVABLES)
        for name, text in solution.values.items():
            assert agrees(text, exact[name], digits), (name, point)


def test_numbers_are_taken_exactly():
    point = {"task_diversity": "0.7", "context_length": 2}
    tenth = [
        solve_digits(digits=40, ridge=value, **point).values
        for value in ("0.1", Decimal("0.1"), Fraction(1, 10), "1/10", "1e-1")
    ]
    assert all(values == tenth[0] for values in tenth)
    # The default is one tenth, too, and a float is the binary number it is.
    assert solve_digits(digits=40, **point).values == tenth[0]
    assert solve_digits(digits=40, ridge=0.1, **point).values != tenth[0]
    assert solve_digits(digits=14, ridge=0.1, **point).values == solve_digits(digits=14, ridge="0.1", **point).values


def test_threshold():
    solution = solve_digits(digits=20, task_diversity=1, context_length=2, ridge=0)
    assert solution.status == Status.DIVERGES
    assert set(solution.values) == set(OBSERVABLES)
    assert set(solution.values.values()) == {None}


def test_nearer_to_the_threshold_than_a_double_can_be():
    """tau = 1 + 1e-30, lam = 0: e_icl = (1 + rho - 1/a) tau/(tau - 1)."""
    tau = "1." + "0" * 29 + "1"
    values = solve_digits(digits=30, task_diversity=tau, context_length=2, ridge=0).values
    with mpmath.workdps(80):
        exact = (1 - 1 / mpmath.mpf("1.5")) * mpmath.mpf(tau) / (mpmath.mpf(tau) - 1)
        assert agrees(values["e_icl"], exact, 30)


def test_what_does_not_exist_is_none():
    below = solve_digits(digits=10, task_diversity="0.5", context_length=1, ridge=0, temperature=3).values
    assert {name for name, text in below.items() if text is None} == {
        "chi",
        "q_self",
        "e_icl_gibbs",
        "free_energy",
        "entropy",
    }
    assert float(below["energy"]) == 1.5
    cold = solve_digits(digits=10, task_diversity="0.5", context_length=1).values
    assert {name for name, text in cold.items() if text is None} == {"entropy"}


def test_digits_survive_a_sum_that_nearly_vanishes():
    """At the temperature where the free energy crosses zero, found to 40 digits, 20 digits of it are still right."""
    point = {"task_diversity": "2", "context_length": "1", "ridge": "0.1"}

    def free(temperature, digits=60):
        return mpmath.mpf(
            solve_digits(digits=digits, temperature=mpmath.nstr(temperature, 50), **point).values["free_energy"]
        )

    with mpmath.workdps(60):
        low, high = mpmath.mpf("0.001"), mpmath.mpf(1000)
        assert free(low) > 0 or free(high) > 0
        sign = 1 if free(low) > 0 else -1
        for _ in range(140):
            middle = (low + high) / 2
            low, high = (middle, high) if sign * free(middle) > 0 else (low, middle)
        root = mpmath.mpf(mpmath.nstr(low, 40))
        value = free(root, 20)
        assert abs(value) < mpmath.mpf(10) ** -35
        with mpmath.workdps(120):
            exact = reference.saddle_point("2", "1", "1", "0", "0.1", root, digits=120)["free_energy"]
        assert agrees(mpmath.nstr(value, 20), exact, 20)
