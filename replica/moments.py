r"""Exact disorder averages at finite D and N, by Wick (Isserlis) contractions.

An expression is a polynomial in indexed Gaussian fields, possibly with nested sums, for instance
``Sum(w[i]*x[k, i], (i, 1, D))``. `expectation` writes it as a list of monomials with every sum's index
made fresh, pairs the factors of each field in all ways, and identifies the indices that a pair ties together:

    E[g_{i_1} ... g_{i_2p}] = sum over pairings of prod delta_{i j} Var(g)

A class of tied indices that holds only summed indices gives a factor of its range; one that holds free
indices gives Kronecker deltas between them. Fields that are not random (the spins) stay, with their indices
tied. Nothing is assumed large, and no known moment is put in by hand.

Source: Isserlis, Biometrika 12 (1918) 134. Tested against explicit summation and against sampling.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, product

import sympy as sp

__all__ = ["distinct", "expectation", "pairings"]


@dataclass(frozen=True)
class _Monomial:
    """coefficient * product of factors, summed over the bound indices."""

    coefficient: sp.Expr
    factors: tuple[sp.Indexed, ...] = ()
    ranges: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()

    def __mul__(self, other: "_Monomial") -> "_Monomial":
        return _Monomial(self.coefficient * other.coefficient, self.factors + other.factors, self.ranges + other.ranges)


@cache
def pairings(size: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """All ways to pair ``size`` objects: (size - 1)!! of them, none when size is odd.

    Parameters
    ----------
    size
        Number of objects, >= 0.

    Returns
    -------
    tuple[tuple[tuple[int, int], ...], ...]
        Tuple of pairings; a pairing is a tuple of pairs (i, j) with i < j.

    Examples
    --------
    >>> pairings(4)
    (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
    >>> len(pairings(8)), pairings(3)
    (105, ())
    """
    if size % 2:
        return ()

    def pair(rest: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
        if not rest:
            yield ()
            return
        first = rest[0]
        for position in range(1, len(rest)):
            for others in pair(rest[1:position] + rest[position + 1 :]):
                yield ((first, rest[position]), *others)

    return tuple(pair(tuple(range(size))))


def expectation(expression: sp.Expr, variances: Mapping[sp.IndexedBase, sp.Expr]) -> sp.Expr:
    """Average a polynomial in independent centred Gaussian fields, exactly.

    Equation: Isserlis' theorem, see the module's docstring.

    Parameters
    ----------
    expression
        Polynomial in Indexed factors, with Sum over ranges (index, 1, size); indices that no Sum binds are free.
    variances
        Variance of one entry of each random field. Indexed factors of other bases are not random.

    Returns
    -------
    sp.Expr
        The average: rational in the sizes, Kronecker deltas of the free indices, and sums over the factors
        that are not random, in a canonical form.

    Raises
    ------
    TypeError
        The expression is not a polynomial in its Indexed factors.

    Examples
    --------
    >>> from iclglass.replica.symbols import D, w
    >>> i, j = sp.symbols("i j", integer=True)
    >>> expectation(w[i] * w[j], {w: sp.Integer(1)})
    KroneckerDelta(i, j)
    >>> sp.factor(expectation(sp.Sum(w[i] ** 2, (i, 1, D)) ** 2, {w: sp.Integer(1)}))
    D*(D + 2)
    """
    fresh = (sp.Symbol(f"_{number}", integer=True) for number in count())
    total = sp.S.Zero
    for monomial in _monomials(sp.sympify(expression, strict=True), fresh):
        total += _contract(monomial, variances)
    return sp.expand(total)


def distinct(expression: sp.Expr) -> sp.Expr:
    """The value of an average when all its free indices differ: every Kronecker delta is zero.

    Examples
    --------
    >>> i, j = sp.symbols("i j", integer=True)
    >>> distinct(2 + sp.KroneckerDelta(i, j))
    2
    """
    return expression.replace(sp.KroneckerDelta, lambda *indices: sp.S.Zero)


def _monomials(expression: sp.Expr, fresh: Iterator[sp.Symbol]) -> list[_Monomial]:
    if isinstance(expression, sp.Indexed):
        return [_Monomial(sp.S.One, (expression,))]
    if not expression.has(sp.Indexed):
        return [_Monomial(expression)]
    if isinstance(expression, sp.Add):
        return [term for argument in expression.args for term in _monomials(argument, fresh)]
    if isinstance(expression, sp.Mul):
        return _product([_monomials(argument, fresh) for argument in expression.args])
    if isinstance(expression, sp.Pow) and expression.exp.is_Integer and expression.exp > 0:
        # Each factor of a power is expanded anew, so that its sums get indices of their own.
        return _product([_monomials(expression.base, fresh) for _ in range(int(expression.exp))])
    if isinstance(expression, sp.Sum):
        body, ranges = expression.function, []
        for index, _, size in expression.limits:
            renamed = next(fresh)
            body = body.xreplace({index: renamed})
            ranges.append((renamed, size))
        return [
            _Monomial(term.coefficient, term.factors, term.ranges + tuple(ranges)) for term in _monomials(body, fresh)
        ]
    raise TypeError(f"{expression} is not a polynomial in indexed fields; write it with +, *, integer powers and Sum")


def _product(lists: Sequence[list[_Monomial]]) -> list[_Monomial]:
    result = [_Monomial(sp.S.One)]
    for terms in lists:
        result = [left * right for left in result for right in terms]
    return result


def _contract(monomial: _Monomial, variances: Mapping[sp.IndexedBase, sp.Expr]) -> sp.Expr:
    random: dict[sp.IndexedBase, list[sp.Indexed]] = {}
    fixed: list[sp.Indexed] = []
    for factor in monomial.factors:
        if factor.base in variances:
            random.setdefault(factor.base, []).append(factor)
        else:
            fixed.append(factor)
    if any(len(factors) % 2 for factors in random.values()):
        return sp.S.Zero

    weight = monomial.coefficient
    for base, factors in random.items():
        weight *= variances[base] ** (len(factors) // 2)
    # Contractions that tie the indices in the same way are counted, not added one by one.
    tally: Counter[sp.Expr] = Counter()
    ties: Counter[tuple[int, ...]] = Counter()
    # There are thousands of pairings: indices are tied by number, symbols are slow.
    indices = [index for factor in monomial.factors for index in factor.indices]
    indices = list(dict.fromkeys([*indices, *(index for index, _ in monomial.ranges)]))
    number = {index: position for position, index in enumerate(indices)}
    numbers = [[[number[index] for index in factor.indices] for factor in group] for group in random.values()]
    for choice in product(*(pairings(len(group)) for group in random.values())):
        pairs = [
            pair
            for numbered, pairing in zip(numbers, choice, strict=True)
            for i, j in pairing
            for pair in zip(numbered[i], numbered[j], strict=True)
        ]
        ties[_tied(len(indices), pairs)] += 1
    for first, multiplicity in ties.items():
        classes: dict[int, set[sp.Expr]] = {}
        for index, least in zip(indices, first, strict=True):
            classes.setdefault(least, set()).add(index)
        tally[_value(classes.values(), dict(monomial.ranges), fixed)] += multiplicity
    return weight * sp.Add(*(multiplicity * value for value, multiplicity in tally.items()))


def _tied(count: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """For each of the numbers below count the least that the pairs tie it to (union-find)."""
    parent = list(range(count))
    for left, right in pairs:
        while parent[left] != left:
            left = parent[left]
        while parent[right] != right:
            right = parent[right]
        parent[max(left, right)] = min(left, right)
    for index, before in enumerate(parent):  # a parent is never above its child: it is a root by now
        parent[index] = parent[before]
    return tuple(parent)


def _value(
    classes: Iterable[set[sp.Expr]],
    ranges: Mapping[sp.Symbol, sp.Expr],
    fixed: Sequence[sp.Indexed],
) -> sp.Expr:
    value = sp.S.One
    rename: dict[sp.Expr, sp.Expr] = {}
    still_summed: dict[sp.Expr, sp.Expr] = {}
    used = {index for factor in fixed for index in factor.indices}
    for members in classes:
        free = sorted((index for index in members if index not in ranges), key=str)
        bound = sorted((index for index in members if index in ranges), key=str)
        if len({ranges[index] for index in bound}) > 1:
            raise TypeError(f"indices of different ranges are tied together: {bound}")
        if free:
            for other in free[1:]:
                value *= sp.KroneckerDelta(free[0], other)
            rename.update(dict.fromkeys(members, free[0]))
        elif members & used:
            rename.update(dict.fromkeys(members, bound[0]))
            still_summed[bound[0]] = ranges[bound[0]]
        else:
            value *= ranges[bound[0]]
    if not fixed:
        return value
    return value * _canonical_sum([factor.xreplace(rename) for factor in fixed], still_summed)


def _canonical_sum(factors: list[sp.Indexed], ranges: Mapping[sp.Expr, sp.Expr]) -> sp.Expr:
    """Sum of a product with its indices named i1, i2, ... in order of appearance."""
    names: dict[sp.Expr, sp.Symbol] = {}
    for factor in sorted(factors, key=lambda factor: str(factor.base)):
        for index in factor.indices:
            if index in ranges and index not in names:
                names[index] = sp.Symbol(f"i{len(names) + 1}", integer=True)
    body = sp.Mul(*(factor.xreplace(names) for factor in factors))
    limits = [(name, 1, ranges[index]) for index, name in names.items()]
    return sp.Sum(body, *limits) if limits else body
