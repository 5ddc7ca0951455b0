"""The Wick engine against explicit summation: every index spelled out, every variable integrated on its own."""

import itertools

import pytest
import sympy as sp

from iclglass.replica.moments import distinct, expectation, pairings
from iclglass.replica.symbols import D, N, V, W, w, x, xt

i, j, k, o, e = sp.symbols("i j k o e", integer=True)
A, B = sp.symbols("A B", positive=True)
ONE = {w: sp.S.One, x: sp.S.One, xt: sp.S.One}


def spelled_out(expression, variances, sizes):
    """The average with sums written out and each Gaussian variable's moment (2p - 1)!! var^p put in."""
    explicit = sp.expand(expression.subs(sizes).doit())
    random = sorted((atom for atom in explicit.atoms(sp.Indexed) if atom.base in variances), key=str)
    if not random:
        return explicit
    total = sp.S.Zero
    for powers, coefficient in sp.Poly(explicit, *random).terms():
        for variable, power in zip(random, powers, strict=True):
            if power % 2:
                coefficient = sp.S.Zero
            coefficient *= sp.factorial2(power - 1) * variances[variable.base] ** (power // 2)
        total += coefficient
    return sp.expand(total)


def engine(expression, variances, sizes):
    return sp.expand(expectation(expression, variances).subs(sizes).doit())


SUMS = {
    "square of a sum": sp.Sum(w[i], (i, 1, D)) ** 2,
    "fourth power of a sum": sp.Sum(w[i], (i, 1, D)) ** 4,
    "norm, squared": sp.Sum(w[i] ** 2, (i, 1, D)) ** 2,
    "norm, cubed": sp.Sum(w[i] ** 2, (i, 1, D)) ** 3,
    "norm to the fourth": sp.Sum(w[i] ** 2, (i, 1, D)) ** 4,
    "two fields": sp.Sum(w[e] * x[k, e], (e, 1, D), (k, 1, N)) ** 4,
    "nested sums": sp.Sum(sp.Sum(w[e] * x[k, e], (e, 1, D)) ** 2, (k, 1, N)) ** 2,
    "inner sum with the outer's index": sp.Sum(w[i] * sp.Sum(w[i] * w[j] ** 2, (j, 1, D)), (i, 1, D)),
    "sum over a range that nothing uses": sp.Sum(w[1] ** 2, (k, 1, N)),
}
LITERAL = {
    "field on both sides of a product": w[1] ** 2 * sp.Sum(w[i] ** 2, (i, 1, D)),
    "polynomial": (1 + 2 * w[1] + sp.Sum(w[i], (i, 1, D))) ** 3,
    "fourth power": (w[2] - sp.Sum(w[i], (i, 1, D))) ** 4,
}


@pytest.mark.parametrize("sizes", [{D: 2, N: 2}, {D: 3, N: 2}, {D: 2, N: 3}], ids=str)
@pytest.mark.parametrize("name", SUMS)
def test_sums_against_explicit_summation(name, sizes):
    expression = SUMS[name]
    for variances in (ONE, {w: A, x: B}):
        assert engine(expression, variances, sizes) == spelled_out(expression, variances, sizes)


def test_literal_indices_are_different_variables():
    expression = w[1] * w[2] + 3 * w[1] ** 2 * w[2] ** 2 + w[2] ** 6
    assert engine(expression, {w: A}, {}) == spelled_out(expression, {w: A}, {}) == 3 * A**2 + 15 * A**3


@pytest.mark.parametrize("sizes", [{D: 2}, {D: 4}], ids=str)
@pytest.mark.parametrize("name", LITERAL)
def test_literal_index_in_range(name, sizes):
    assert engine(LITERAL[name], {w: A}, sizes) == spelled_out(LITERAL[name], {w: A}, sizes)


def test_free_indices_give_kronecker_deltas():
    """E[w_i w_j w_k w_l] for all 81 values of the indices in {1, 2, 3}."""
    general = expectation(w[i] * w[j] * w[k] * w[o], {w: A})
    for values in itertools.product((1, 2, 3), repeat=4):
        at = dict(zip((i, j, k, o), values, strict=True))
        expected = spelled_out(sp.Mul(*(w[value] for value in values)), {w: A}, {})
        assert general.subs(at) == expected
    assert distinct(general) == 0
    assert distinct(general.subs({j: i, o: k})) == A**2


def test_free_indices_tied_through_sums():
    """A summed index may link two free ones: E[u_i u_j] with u_i = sum_k sum_e w_e x_ke x_ki."""

    def feature(index):
        return sp.Sum(w[e] * x[k, e] * x[k, index], (e, 1, D), (k, 1, N))

    general = expectation(feature(i) * feature(j), ONE)
    for sizes in ({D: 2, N: 2}, {D: 3, N: 1}):
        for first, second in itertools.product((1, 2), repeat=2):
            expected = spelled_out(feature(first) * feature(second), ONE, sizes)
            assert general.subs({i: first, j: second}).subs(sizes) == expected


def test_summed_index_with_the_name_of_a_free_one_is_not_captured():
    inner = sp.Sum(w[i] ** 2, (i, 1, D))
    assert expectation(w[i] ** 2 * inner, {w: sp.S.One}) == D + 2
    # The same body squared: the two sums must get indices of their own.
    assert sp.factor(expectation(inner**2, {w: sp.S.One})) == D * (D + 2)
    assert sp.factor(expectation(inner * inner, {w: sp.S.One})) == D * (D + 2)


def test_fields_that_are_not_random_stay_with_their_indices_tied():
    prediction = sp.Sum(w[i] * xt[j] * W[i, j], (i, 1, D), (j, 1, D))
    sizes = {D: 2}
    assert engine(prediction**2, ONE, sizes) == spelled_out(prediction**2, ONE, sizes)
    squares = sum(W[row, column] ** 2 for row in (1, 2) for column in (1, 2))
    assert engine(prediction**2, ONE, sizes) == squares
    last = sp.Sum(xt[j] * V[j], (j, 1, D))
    assert engine(prediction * last, ONE, sizes) == 0
    assert engine(last * xt[1], ONE, sizes) == spelled_out(last * xt[1], ONE, sizes) == V[1]
    fourth = spelled_out(prediction**4, ONE, sizes)
    assert engine(prediction**4, ONE, sizes) == fourth
    assert fourth != 0


@pytest.mark.parametrize("power", [1, 3, 5, 7])
def test_odd_moments_vanish(power):
    assert expectation(sp.Sum(w[i], (i, 1, D)) ** power, {w: A}) == 0
    assert expectation(w[i] ** power * x[k, i] ** 2, {w: A, x: B}) == 0


def test_constants_and_plain_symbols_pass():
    assert expectation(sp.Integer(7), ONE) == 7
    assert expectation(sp.sqrt(A) * w[i] ** 2 + B, ONE) == sp.sqrt(A) + B


@pytest.mark.parametrize("size", range(9))
def test_pairings_are_all_different_and_complete(size):
    found = pairings(size)
    assert len(set(found)) == len(found) == (0 if size % 2 else sp.factorial2(size - 1))
    for pairing in found:
        assert sorted(itertools.chain(*pairing)) == list(range(size))
        assert all(left < right for left, right in pairing)


@pytest.mark.parametrize(
    "expression",
    [sp.exp(w[1]), 1 / w[1], sp.sqrt(w[1]), sp.Abs(w[1]), w[1] ** A, sp.sin(w[i]) * w[i]],
    ids=str,
)
def test_not_a_polynomial(expression):
    with pytest.raises(TypeError, match="is not a polynomial in indexed fields"):
        expectation(expression, ONE)


def test_ranges_that_do_not_fit():
    with pytest.raises(TypeError, match="different ranges"):
        expectation(sp.Sum(w[i], (i, 1, D)) * sp.Sum(w[k], (k, 1, N)), ONE)
