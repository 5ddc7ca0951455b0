r"""The one unevaluated average of the theory, over a Gaussian law.

An `Average` stays as it is until somebody has nodes for it (numerics) or its integrand is a polynomial, which `doit`
averages exactly. Derivatives pass under it: by a parameter of the covariance C through Price's theorem,

    d/dp E[F(x)] = E[dF/dp] + (1/2) sum_ij (dC_ij/dp) E[d^2 F/dx_i dx_j],

Source: Price, IRE Trans. Inf. Theory 4 (1958) 69; integration by parts for a Gaussian, twice.
"""

from collections.abc import Mapping
from itertools import product

import sympy as sp
from sympy.core.symbol import Str
from sympy.printing.latex import LatexPrinter
from sympy.printing.pretty.pretty import PrettyPrinter
from sympy.printing.pretty.stringpict import prettyForm
from sympy.printing.str import StrPrinter

from iclglass.replica import symbols as S
from iclglass.replica.moments import pairings

__all__ = ["LAWS", "Average", "GaussianLaw", "OneBody", "by_parts", "linear"]

NODES = (
    *(S.normal, S.field, S.spin, S.response, S.nonzero, S.mean_penalty, S.spin_free),
    *(S.y, S.t, S.f_cav, S.f, S.pull, S.pull_slope, S.mean_loss, S.prompt_free),
    *(S.cluster_spin, S.cluster_square, S.cluster_response, S.cluster_free, S.cluster_mean_free),
    *(S.cluster_penalty, S.cluster_nonzero, S.cluster_response_square),
)
"""What varies under an average: fields, and what one body does in them."""


class OneBody(sp.Function):
    """A quantity of one spin or one prompt in its field, as a function of the field and of parameters."""


class GaussianLaw(sp.Basic):
    """Centred Gaussian fields with a covariance.

    Parameters
    ----------
    name
        How `Average.law` calls it.
    fields
        Its fields, symbols.
    covariance
        Their covariance, in the symbols of the theory.
    measure
        What is printed behind the integral sign's D, and not taken out of averages: fields in other words, or what
        the covariance and the integrand depend on and is averaged over, too. Default the fields.
    """

    def __new__(
        cls,
        name: str | Str,
        fields: tuple[sp.Symbol, ...] | sp.Tuple,
        covariance: sp.MatrixBase,
        measure: tuple[sp.Symbol, ...] | sp.Tuple | None = None,
    ) -> "GaussianLaw":
        shown = sp.Tuple(*(fields if measure is None else measure))
        return sp.Basic.__new__(cls, Str(str(name)), sp.Tuple(*fields), sp.ImmutableMatrix(covariance), shown)

    @property
    def fields(self) -> tuple[sp.Symbol, ...]:
        """The fields."""
        return tuple(self.args[1])

    @property
    def covariance(self) -> sp.ImmutableMatrix:
        """Their covariance."""
        return self.args[2]

    @property
    def bound(self) -> set[sp.Symbol]:
        """Everything that is averaged over."""
        return {*self.args[1], *self.args[3]}


_PROMPT = (S.t, S.f_cav)
LAWS: Mapping[str, GaussianLaw] = {
    "spins": GaussianLaw("spins", (S.field,), sp.Matrix([[S.Q]]), (S.normal,)),
    "prompts": GaussianLaw(
        "prompts", _PROMPT, sp.Matrix([[S.teacher_variance, S.kappa1 * S.m], [S.kappa1 * S.m, S.a * S.q]])
    ),
    "test": GaussianLaw(
        "test", _PROMPT, sp.Matrix([[S.teacher_variance, S.kappa1 * S.m], [S.kappa1 * S.m, S.a_test * S.q]])
    ),
}
"""The laws of the theory: the field sqrt(Q) z on a spin; teacher and prediction of a trained and of a new prompt."""


class Average(sp.Expr):
    r"""E[integrand] over one of the `LAWS`, unevaluated.

    Parameters
    ----------
    integrand
        Expression in the law's fields and in the symbols of what one body does in them (`NODES`).
    law
        Its name, "spins", "prompts" or "test", or a `GaussianLaw`.

    Examples
    --------
    >>> chi = Average(S.response, "spins")
    >>> chi.law, chi.integrand
    ('spins', response)
    >>> chi
    E_spins[response]
    >>> sp.latex(Average(S.pull, "prompts"))
    '\\int D(t,f_{cav})\\,pull'
    >>> Average(S.field**2, "spins").doit()
    Q
    >>> sp.diff(Average(sp.sin(S.field), "spins"), S.Q)
    -E_spins[sin(field)]/2
    """

    is_commutative = True
    is_real = True

    def __new__(cls, integrand: sp.Expr | float, law: str | Str | GaussianLaw) -> sp.Expr:
        inside = sp.sympify(integrand, strict=True)
        # The average of a number is that number: the law is normalised.
        if inside.is_number:
            return inside
        return sp.Expr.__new__(cls, inside, law if isinstance(law, GaussianLaw) else LAWS[str(law)])

    @property
    def integrand(self) -> sp.Expr:
        """What is averaged."""
        return self.args[0]

    @property
    def measure(self) -> GaussianLaw:
        """The Gaussian law."""
        return self.args[1]

    @property
    def law(self) -> str:
        """Its name."""
        return str(self.measure.args[0])

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """Symbols of integrand and covariance that are not averaged over."""
        return (self.integrand.free_symbols | self.measure.covariance.free_symbols) - self.measure.bound

    def _eval_derivative(self, variable: sp.Symbol) -> sp.Expr | None:
        law, inside = self.measure, self.integrand
        if variable in law.fields:
            return sp.S.Zero
        if inside.free_symbols & (set(NODES) - law.bound):
            # What one body does depends on every parameter; only its functions know how.
            return None
        result = Average(sp.diff(inside, variable), law)
        change = law.covariance.diff(variable)
        for (i, first), (j, second) in product(enumerate(law.fields), repeat=2):
            if change[i, j] != 0:
                result += linear(Average(change[i, j] * sp.diff(inside, first, second) / 2, law))
        return result

    def doit(self, **hints: bool) -> sp.Expr:
        """The value where the integrand is a polynomial in the fields; self otherwise."""
        inside, fields = self.integrand.doit(**hints), self.measure.fields
        others = set(NODES) - set(fields)
        if inside.has(OneBody) or inside.free_symbols & others or not inside.is_polynomial(*fields):
            return Average(inside, self.measure)
        total = sp.S.Zero
        for powers, coefficient in sp.Poly(inside, *fields).terms():
            places = [place for place, power in enumerate(powers) for _ in range(power)]
            for pairing in pairings(len(places)):
                total += coefficient * sp.Mul(*(self.measure.covariance[places[i], places[j]] for i, j in pairing))
        return total

    def _sympystr(self, printer: StrPrinter) -> str:
        return f"E_{self.law}[{printer.doprint(self.integrand)}]"

    def _latex(self, printer: LatexPrinter) -> str:
        variables = [printer.doprint(variable) for variable in self.measure.args[3]]
        shown = variables[0] if len(variables) == 1 else f"({','.join(variables)})"
        index = r"_{*}" if self.law == "test" else ""
        inside = printer.doprint(self.integrand)
        if self.integrand.is_Add:
            inside = rf"\left({inside}\right)"
        return rf"\int D{index}{shown}\,{inside}"

    def _pretty(self, printer: PrettyPrinter) -> prettyForm:
        variables = [str(variable) for variable in self.measure.args[3]]
        shown = variables[0] if len(variables) == 1 else f"({', '.join(variables)})"
        inside = printer._print(self.integrand)
        if self.integrand.is_Add:
            inside = prettyForm(*inside.parens())
        sign = prettyForm(f"∫ D{'*' if self.law == 'test' else ''}{shown} ")
        return prettyForm(*sign.right(inside), binding=prettyForm.MUL)


def linear(expression: sp.Expr) -> sp.Expr:
    """Averages of sums as sums of averages, with factors that do not vary taken out.

    Examples
    --------
    >>> linear(Average(S.tau * (S.pull + 2 * S.pull_slope), "prompts"))
    tau*E_prompts[pull] + 2*tau*E_prompts[pull_slope]
    """

    def split(inside: sp.Expr, law: GaussianLaw) -> sp.Expr:
        varying = {*NODES, *law.bound}
        total = sp.S.Zero
        for term in sp.Add.make_args(sp.expand(inside)):
            constant, rest = term.as_independent(*varying, OneBody, as_Add=False)
            total += constant * Average(rest, law)
        return total

    return expression.replace(lambda part: isinstance(part, Average), lambda part: split(part.integrand, part.measure))


def by_parts(function: sp.Expr, law: str | GaussianLaw) -> tuple[sp.Expr, ...]:
    """E[d function/dx_i] for the fields x of a law, from E[x function] = C E[d function/dx].

    It sees the jumps of a function, which its derivative between them does not.

    Examples
    --------
    >>> by_parts(S.spin, "spins")
    (E_spins[field*spin]/Q,)
    """
    measure = law if isinstance(law, GaussianLaw) else LAWS[law]
    inverse = measure.covariance.inv()
    return tuple(
        sp.Add(*(linear(Average(inverse[i, j] * field * function, measure)) for j, field in enumerate(measure.fields)))
        for i in range(len(measure.fields))
    )
