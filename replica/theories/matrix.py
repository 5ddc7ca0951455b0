r"""Factorised weights: the spins' side for a penalty on the singular values of W, at D -> infinity.

W = W_K^T W_Q trained with weight decay minimises the loss plus the nuclear norm of W, nu <sum of singular values>/D as
a scaled penalty. The D^2 spins then answer together: they minimise, with the field h = M 1 + sqrt(Q) Z of the prompts,

    nu |W|_*/D + K |W|^2/(2 D) - Tr h^T W/D,        Z: D x D of N(0, 1/D),

so W has the singular vectors of h, and the singular values f(x) sqrt(Q)/K with f(x) = max(x - nu/sqrt(Q), 0), where x
are those of gamma_s 1 + Z, gamma_s = M/sqrt(Q). Only their law, their overlaps u.v of left and right singular
vectors, and the divergence of W by the field are needed. All three are in one 2 x 2 matrix: the averaged resolvent of
[[0, h], [h^T, 0]], whose eigenvalues are +-x with eigenvectors (u, +-v)/sqrt(2), obeys Dyson's equation

    G = (w 1 - gamma_s sigma_x)^{-1},      w = x - G_11                                  (a cubic in w)

    density  rho(x) = -(2/pi) Im G_11,     overlap  o(x) = Im G_12/Im G_11,     m = <f(x) o(x)>
    divergence  (1/D^2) sum_i [f'(x_i) + 2 sum_j x_i f(x_i)/(x_i^2 - x_j^2)] -> <f(x) 2 Re G_11(x)>,

the last because 2 x/(x^2 - y^2) = 1/(x - y) + 1/(x + y): the inner average is a principal value, and no difference of
nearby numbers is left. The cubic need not be solved: a parameter eta runs along its solution on the support, and all
are algebraic in it. Proofs: Stein's relation <x f> = gamma_s m + <f 2 Re G_11> holds pointwise between overlap and
divergence, which come from different entries of G; the edges are where the cubic's discriminant vanishes.

Source: this project; Dyson's equation for Hermitised matrices e.g. in Cipolloni, Erdos and Schroder, Electron. J.
Probab. 24 (2019) 123; the divergence Candes, Sing-Long and Trzasko, IEEE Trans. Signal Process. 61 (2013) 4643.
"""

from dataclasses import dataclass
from functools import cache

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.guarded_limit import limit

__all__ = ["SingularValueLaw", "singular_value_law"]


@dataclass(frozen=True)
class SingularValueLaw:
    """Law of the singular values of gamma_s 1 + Z, in the parameter eta.

    Attributes
    ----------
    cubic
        The equation of w at the singular value x: cubic = 0.
    singular_value, slope
        x and dx/d eta.
    overlap
        Mean of u.v at this singular value.
    divergence
        2 Re G_11: what f is averaged with in the divergence.
    density
        Density in x, with the upper edge `S.law_high` of eta.
    low, high
        Edges of eta. For gamma_s <= 1 the law reaches x = 0, and eta starts at 0.
    """

    cubic: sp.Expr
    singular_value: sp.Expr
    slope: sp.Expr
    overlap: sp.Expr
    divergence: sp.Expr
    density: sp.Expr
    low: sp.Expr
    high: sp.Expr


@cache
def singular_value_law() -> SingularValueLaw:
    """Derive the law, and prove what is said of it.

    Raises
    ------
    ArithmeticError
        One of the proofs fails.

    Examples
    --------
    >>> singular_value_law().cubic
    gamma_s**2*x_s + w_s**3 - w_s**2*x_s + w_s*(1 - gamma_s**2)
    """
    ratio, x, w, node = S.signal_ratio, S.singular_value, S.shifted, S.law_node
    resolvent = sp.Matrix([[w, -ratio], [-ratio, w]]).inv()
    same, cross = resolvent[0, 0], resolvent[0, 1]
    cubic = sp.Poly(sp.numer(sp.together(x - w - same)), w).monic().as_expr()
    # On the support w = p + i r and x = w + G_11 is real: Im x/r = 0 fixes r^2 at every p.
    p, r, square = sp.symbols("p r r2", positive=True)
    complex_w = p + sp.I * r
    parts = {entry: _parts(entry, w, complex_w) for entry in (same, cross)}
    real_x = sp.expand(sp.numer(sp.together((r + parts[same][1]) / r))).subs(r, sp.sqrt(square))
    on_curve = {p: node * sp.sqrt(1 + ratio**2 * node**2) / 2}
    # The other root is negative everywhere; this one becomes the semicircle as gamma_s -> 0.
    roots = [sp.expand(root) for root in sp.solve(sp.expand(real_x.subs(on_curve)), square)]
    (height,) = (root for root in roots if limit(root, ratio).subs(node, 1) > 0)

    def at_node(value: sp.Expr) -> sp.Expr:
        return sp.factor(sp.simplify(value.subs(on_curve).subs(r, sp.sqrt(height))))

    root = sp.sqrt(1 + 8 * ratio**2)
    high = sp.sqrt(2 + 4 / (1 + root))
    above_one = (sp.Abs(ratio**2 - 1) + ratio**2 - 1) / 2
    squared = (S.law_high**2 - node**2) * (ratio**2 * node**2 + 4 * (1 - ratio**2) / S.law_high**2)
    singular_value = at_node(p + parts[same][0])
    law = SingularValueLaw(
        cubic=cubic,
        singular_value=singular_value,
        slope=sp.factor(sp.diff(singular_value, node)),
        overlap=at_node(parts[cross][1] / parts[same][1]),
        divergence=at_node(2 * parts[same][0]),
        density=sp.sqrt(sp.Abs(squared)) / sp.pi,  # at an edge rounding could make it negative
        low=2 * sp.sqrt(above_one) / (ratio * high),
        high=high,
    )
    _prove(law, at_node(p), height, squared / 4)
    return law


def _prove(law: SingularValueLaw, real_w: sp.Expr, height: sp.Expr, factored: sp.Expr) -> None:
    """Every claim as an expression that must vanish."""
    ratio, node, squared = S.signal_ratio, S.law_node, sp.Symbol("eta2", positive=True)
    at_node = {S.singular_value: law.singular_value, S.shifted: real_w + sp.I * sp.sqrt(height)}
    polynomial = sp.Poly(height.subs(node, sp.sqrt(squared)), squared)
    largest = max(sp.roots(polynomial), key=lambda edge: edge.subs(ratio, 2))
    discriminant = sp.numer(sp.together(sp.discriminant(law.cubic, S.shifted).subs(at_node)))
    claims = {
        "w solves the cubic": law.cubic.subs(at_node),
        "Stein's relation": law.singular_value - ratio * law.overlap - law.divergence,
        "the density is 2 Im w/pi, 0 at the upper edge": (factored - height).subs(S.law_high, law.high),
        "the upper edge is the larger root": law.high**2 - largest,
        "the edges are roots of the discriminant": sp.rem(
            sp.Poly(sp.expand(discriminant).subs(node, sp.sqrt(squared)), squared), polynomial
        ).as_expr(),
    }
    for claim, expression in claims.items():
        if sp.simplify(sp.expand(expression)) != 0:
            raise ArithmeticError(f"not proved: {claim}: {sp.simplify(expression)} is not 0")


def _parts(entry: sp.Expr, w: sp.Symbol, value: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Real and imaginary part of a ratio of polynomials at a complex value of w."""
    above, below = (sp.expand(part.subs(w, value)) for part in sp.fraction(sp.together(entry)))
    size = sp.expand(below * sp.conjugate(below))
    real, imaginary = sp.expand(above * sp.conjugate(below)).as_real_imag()
    return real / size, imaginary / size
