"""Replica-symmetric algebra against explicit matrices, n = 1 .. 5."""

import mpmath
import pytest
import sympy as sp

from iclglass.replica.ansatz import ReplicaSymmetric, replica_limit
from tests.tolerances import THIRTY_DIGITS

SIZES = range(1, 6)
d, u, e, v = sp.symbols("d u e v", positive=True)
c = sp.Symbol("c", positive=True)
n = sp.Symbol("n", real=True)


def zero(matrix):
    return sp.simplify(matrix) == sp.zeros(*matrix.shape)


@pytest.mark.parametrize("size", SIZES)
def test_every_operation_of_the_plain_matrix(size):
    number = sp.Integer(size)
    one, two = ReplicaSymmetric(d, u, number), ReplicaSymmetric(e, v, number)
    explicit = d * sp.eye(size) + u * sp.ones(size)
    assert one.explicit() == explicit
    assert sp.expand(explicit.det(method="berkowitz") - one.determinant()) == 0
    assert zero(one.inverse().explicit() * explicit - sp.eye(size))
    assert zero((one + two).explicit() - one.explicit() - two.explicit())
    assert zero((one @ two).explicit() - one.explicit() * two.explicit())
    assert sp.expand(one.trace() - explicit.trace()) == 0
    assert sp.expand(one.sum_of_entries() - sum(explicit)) == 0
    assert zero(explicit * sp.ones(size, 1) - one.uniform_eigenvalue * sp.ones(size, 1))
    numbers = {d: sp.Rational(3, 7), u: sp.Rational(5, 11)}
    determinant = sp.log(explicit.subs(numbers).det())
    assert abs(sp.N(one.log_determinant().subs(numbers) - determinant, 30)) < THIRTY_DIGITS


def test_replica_limit_against_a_small_number_of_replicas():
    source = ReplicaSymmetric(d, u, n).inverse().sum_of_entries() * c
    plain = ReplicaSymmetric(d, u, n).log_determinant()
    numbers = {
        c: sp.Rational(4, 3),
        d: sp.Rational(3, 7),
        u: sp.Rational(5, 11),
    }
    for expression in (plain, source):
        limit = sp.N(replica_limit(expression, n).subs(numbers), 60)
        with mpmath.workdps(80):
            step = mpmath.mpf(10) ** -30
            at = sp.lambdify(n, expression.subs(numbers), "mpmath")
            # Symmetric in n, so that the error is of order step^2.
            difference = (at(step) - at(-step)) / (2 * step)
            assert abs(difference - mpmath.mpf(str(limit))) < THIRTY_DIGITS


def test_replica_limit_needs_an_expression_that_vanishes():
    with pytest.raises(ValueError, match=r"is log\(d\) at n = 0, not 0"):
        replica_limit(sp.log(d) + n * u, n)
    assert replica_limit(n * u + n**2 * d, n) == u
