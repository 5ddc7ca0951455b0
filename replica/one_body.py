r"""What one spin and one prompt do in their fields, as functions that know their derivatives.

    spin_free(h, K)        = -T ln int dmu(s) exp(-[r(s) + K s^2/2 - h s]/T)                      s = -d spin_free/dh
    prompt_free(t, w, c)   = -tau T ln int df exp(-[l(y, f) + (f - w)^2/(2c)]/(tau T))/sqrt(2 pi c tau T)
    diagonal_free(K, M)    = min_w r_d(w) + K w^2/2 - M w

Whatever r and l are: exp(-spin_free/T) obeys dZ/dK = -(T/2) d^2 Z/dh^2, and exp(-prompt_free/(tau T)) is a convolution
with a Gaussian of variance c tau T, dZ/dc = (tau T/2) d^2 Z/dw^2: heat equations. As T -> 0 the integrals become minima
(Moreau envelopes) and the same relations hold with T = 0 in them. y is made of t and of label noise.
"""

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import OneBody

__all__ = [
    "DiagonalFree",
    "PromptFree",
    "Pull",
    "PullByTeacher",
    "PullSlope",
    "Response",
    "Spin",
    "SpinFree",
    "nodes",
]


class Response(OneBody):
    """Response of one spin, d spin/dh."""


class Spin(OneBody):
    """Mean of one spin in its field."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The response; the derivative by K is not needed."""
        if argindex == 1:
            return Response(*self.args)
        return super().fdiff(argindex)


class SpinFree(OneBody):
    """Free energy of one spin in the field h at the precision K."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """By h: minus the mean. By K: half the mean square (heat equation)."""
        mean = Spin(*self.args)
        return -mean if argindex == 1 else (mean**2 + S.T * Response(*self.args)) / 2


class PullSlope(OneBody):
    """Slope of the pull, d pull/d f_cav."""


class PullByTeacher(OneBody):
    """d pull/dt, through the label; no node, since labels may jump."""


class Pull(OneBody):
    """Pull of one prompt, (f - f_cav)/c."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """By t and by f_cav."""
        if argindex == 3:
            return super().fdiff(argindex)
        return (PullByTeacher, PullSlope)[argindex - 1](*self.args)


class PromptFree(OneBody):
    """Free energy of one prediction: teacher's field t, prediction f_cav without the prompt, leverage c."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """By f_cav: minus the pull. By c: heat equation."""
        pull = Pull(*self.args)
        if argindex == 2:
            return -pull
        if argindex == 3:
            return -(pull**2 + S.tau * S.T * PullSlope(*self.args)) / 2
        return super().fdiff(argindex)


class DiagonalFree(OneBody):
    """Least energy of one diagonal spin at the precision K in the field M."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Envelope theorem."""
        return -S.diagonal if argindex == 2 else S.diagonal**2 / 2


_NODES = {
    SpinFree: S.spin_free,
    Spin: S.spin,
    Response: S.response,
    PromptFree: S.prompt_free,
    Pull: S.pull,
    PullSlope: S.pull_slope,
    DiagonalFree: S.diagonal_free,
}


def nodes(expression: sp.Expr) -> sp.Expr:
    """The same with the functions' values as symbols, at which numerics has numbers."""
    return expression.replace(lambda part: type(part) in _NODES, lambda part: _NODES[type(part)])
