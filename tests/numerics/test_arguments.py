"""Checks of counts, reals and choices."""

import math
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp
import xarray as xr

from iclglass.numerics.arguments import check_choice, check_count, check_real
from iclglass.numerics.errors import ParameterError, ParameterTypeError


@pytest.mark.parametrize(
    "value", [True, "3", b"3", None, 1j, [1], np.array([2]), object, np.timedelta64(3, "s"), sp.I], ids=repr
)
def test_wrong_types(value):
    with pytest.raises(ParameterTypeError, match=f"samples must be an integer, got {type(value).__name__}"):
        check_count("samples", value, minimum=1)
    with pytest.raises(ParameterTypeError, match=f"ridge must be a real number, got {type(value).__name__}"):
        check_real("ridge", value, minimum=0)


@pytest.mark.parametrize(
    "value", [1.5, math.nan, math.inf, -math.inf, 0.999999, Fraction(1, 2), 1 + Decimal("1e-20"), sp.pi], ids=str
)
def test_counts_are_whole(value):
    with pytest.raises(ParameterError, match=r"samples must be a whole number, got .*; round it"):
        check_count("samples", value, minimum=1)


@pytest.mark.parametrize("value", [0, -1, -(10**30)], ids=str)
def test_counts_have_a_minimum(value):
    with pytest.raises(ParameterError, match=rf"samples must be at least 1 \(one says nothing\), got {value}"):
        check_count("samples", value, minimum=1, reason="one says nothing")


def test_counts():
    exact = (Fraction(3), Decimal(3), sp.Integer(3), mpmath.mpf(3))
    for value in (3, 3.0, np.int16(3), np.float32(3), np.array(3), *exact):
        count = check_count("samples", value, minimum=3)
        assert count == 3
        assert type(count) is int
    # Not through a double: every digit stays.
    for value in (2**63 + 1, Decimal(2**63 + 1), Fraction(2**63 + 1), 10**400):
        assert check_count("seed", value, minimum=0) == value


def test_reals():
    assert check_real("ridge", np.float32(0.5), minimum=0) == 0.5
    assert check_real("ridge", 0, minimum=0) == 0
    for value in (Fraction(1, 2), Decimal("0.5"), sp.Rational(1, 2), sp.sin(sp.pi / 6), mpmath.mpf(0.5), np.array(0.5)):
        assert check_real("ridge", value, minimum=0) == 0.5
    assert check_real("ridge", sp.pi, minimum=0) == math.pi
    assert check_real("ridge", xr.DataArray(0.5), minimum=0) == 0.5
    for value, options in (
        (0, {"minimum": 0, "above": True}),
        (-1e-300, {"minimum": 0}),
        (1, {"minimum": 0, "maximum": 1}),
        (math.nan, {"minimum": 0}),
        (math.inf, {"minimum": 0}),
    ):
        with pytest.raises(ParameterError, match="ridge must be finite and"):
            check_real("ridge", value, **options)
    with pytest.raises(ParameterError, match=r"ridge = .* is beyond double precision"):
        check_real("ridge", 10**400, minimum=0)


def test_choices():
    assert check_choice("norm", "N", ("N", "N+1")) == "N"
    with pytest.raises(ParameterError, match="norm must be one of N, N\\+1, got 'n'"):
        check_choice("norm", "n", ("N", "N+1"))
    with pytest.raises(ParameterTypeError, match="got NoneType None"):
        check_choice("norm", None, ("N", "N+1"))
