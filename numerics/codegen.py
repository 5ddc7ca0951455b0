"""The only lambdify: the derived equations as Python source, for NumPy and for mpmath.

The derivation takes seconds, a solve may not: so the equations are kept as generated modules,
``generated_numpy`` and ``generated_mpmath``, written by ``python -m iclglass.numerics.codegen``. A test derives them
afresh and compares. The generated functions are elementwise; they take their arguments in the order of an explicit
tuple and return a tuple in the order of ``OUTPUTS``.
"""

import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import sympy as sp
from sympy.printing.numpy import NumPyPrinter
from sympy.printing.pycode import MpmathPrinter

from iclglass.replica import symbols as S
from iclglass.replica.closed_form import ClosedForm
from iclglass.replica.derivation import Derivation, derive
from iclglass.replica.guarded_limit import limit
from iclglass.replica.theories.matrix import singular_value_law
from iclglass.replica.thermodynamics import thermodynamics

__all__ = ["BACKENDS", "GeneratedFunction", "compile_function", "functions", "module_source"]

PARAMETERS = (S.tau, S.alpha, S.alpha_test, S.rho, S.lam, S.T)
_LAW_OUTPUTS = ("singular_value", "slope", "overlap", "divergence", "density")
ORDER_PARAMETERS = (S.chi, S.m, S.q, *PARAMETERS)


class _NumPyPrinter(NumPyPrinter):
    """Piecewise as numpy.where, a third of the time of the numpy.select that SymPy prints."""

    def _print_Piecewise(self, expression: sp.Piecewise) -> str:
        *conditional, (otherwise, always) = expression.args
        if always != sp.true:
            raise ValueError(f"{expression} must have a last branch without condition")
        text = self._print(otherwise)
        for value, condition in reversed(conditional):
            text = f"numpy.where({self._print(condition)}, {self._print(value)}, {text})"
        return text


BACKENDS = {
    "numpy": (_NumPyPrinter, "elementwise, over NumPy arrays that broadcast", None),
    "mpmath": (MpmathPrinter, "scalar, on mpmath numbers at the working precision", ("closed_form", "thermal")),
}
"""Printer, how the functions work, and which of them are kept; None: all."""


@dataclass(frozen=True)
class GeneratedFunction:
    """One function to be generated; definitions are assigned in this order, None leaves them to SymPy's cse."""

    name: str
    arguments: tuple[sp.Symbol, ...]
    outputs: tuple[tuple[str, sp.Expr], ...]
    definitions: tuple[tuple[sp.Symbol, sp.Expr], ...] | None
    text: str


def functions(derivation: Derivation) -> tuple[GeneratedFunction, ...]:
    """What the numerics needs of the derivation."""
    form, moments, law = derivation.closed_form, derivation.moments, singular_value_law()
    table: tuple[tuple[Any, ...], ...] = (  # name, arguments, outputs, definitions, text
        ("closed_form", PARAMETERS, form.outputs, form.definitions, "What exists at every ridge and temperature."),
        (
            "thermal",
            (S.inverse_chi, S.z, S.q, S.e_icl, S.e_train, *PARAMETERS),
            (("chi", S.chi), *_at_every_temperature()),
            _thermal_definitions(derivation),
            "What needs the susceptibility or the temperature, with the limits T -> 0 and lam -> 0.",
        ),
        (
            "thermodynamics",
            (S.ground_state, S.q, S.chi, S.e_icl, S.gibbs_response, S.volume, S.spins, S.T),
            _at_every_temperature(),
            None,
            "What a temperature adds to a ground state, with the limit T -> 0, for every theory.",
        ),
        (
            "residuals",
            (S.inverse_chi, S.z_bar, S.m, S.q, *PARAMETERS),
            _residuals(derivation),
            None,
            "Residuals of the saddle-point equations in logarithmic variables, and their Jacobian.",
        ),
        ("fixed_point_map", ORDER_PARAMETERS, _fixed_point_map(derivation), None, "Right-hand sides of the equations."),
        ("observables", ORDER_PARAMETERS, _observables(derivation), None, "Observables as derived, not rationalised."),
        ("gradients", PARAMETERS, _gradients(form), form.definitions, "Derivatives of e_icl by the parameters."),
        (
            "feature_moments",
            (S.D, S.N, S.norm, S.rho),
            tuple((name, getattr(moments, name)) for name in ("label", "signal", "block", "last_row")),
            None,
            "Second moments of one prompt at finite D and N.",
        ),
        (
            "singular_value_edges",
            (S.signal_ratio,),
            tuple((name, getattr(law, name)) for name in ("low", "high")),
            None,
            "Edges of the law of singular values, in its parameter eta.",
        ),
        (
            "singular_value_law",
            (S.law_node, S.law_high, S.signal_ratio),
            tuple((name, getattr(law, name)) for name in _LAW_OUTPUTS),
            None,
            "Law of the singular values along eta.",
        ),
    )
    return tuple(GeneratedFunction(*row) for row in table)


def _at_every_temperature() -> tuple[tuple[str, sp.Expr], ...]:
    return tuple((name, sp.Piecewise((cold, sp.Eq(S.T, 0)), (warm, True))) for name, warm, cold in thermodynamics())


def _thermal_definitions(derivation: Derivation) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
    """What `thermodynamics` takes, of the closed form; where 1/chi = 0 or T = 0 nothing is divided or taken log of."""
    form, flat = derivation.closed_form, dict(derivation.limits.flat)
    inputs, no_ridge = dict(form.thermal_inputs), sp.Eq(S.inverse_chi, 0)
    inputs[S.volume] = sp.Piecewise((flat[S.volume], no_ridge), (-sp.oo, sp.Eq(S.T, 0)), (inputs[S.volume], True))
    return (
        *((symbol, value) for symbol, value in form.definitions if symbol in (S.a, S.b, S.b_test)),
        (S.chi, sp.Piecewise((flat[S.chi], no_ridge), (1 / S.inverse_chi, True))),
        *inputs.items(),
    )


def _observables(derivation: Derivation) -> tuple[tuple[str, sp.Expr], ...]:
    """The observables as derived from the functional; their own limits T -> 0, not those of `thermodynamics`."""
    derived = {**dict(derivation.system.observables), "replicon": derivation.replicon}
    cold = {"free_energy": limit(derived["free_energy"], S.T), "entropy": sp.nan}
    definition = {S.a: derivation.system.a_definition.rhs}
    return tuple(
        (name, (sp.Piecewise((cold[name], sp.Eq(S.T, 0)), (value, True)) if name in cold else value).subs(definition))
        for name, value in derived.items()
    )


def _residuals(derivation: Derivation) -> tuple[tuple[str, sp.Expr], ...]:
    """Each equation as (right/left - 1), in 1/chi and lam chi, which stay finite in the ridgeless limit.

    With ell_chi = lam chi: F0 fixes the product ell_chi/chi = lam, F1 to F3 are the equations for 1/chi (divided by
    1/chi), m and q. The Jacobian is by the logarithms of (chi, m, q) at fixed parameters, so its inverse turns
    residuals into relative errors.
    """
    system = derivation.system
    definition = {S.a: system.a_definition.rhs}
    first, second, third = system.equations
    log_chi, log_m, log_q = (sp.Symbol(f"log_{name}", real=True) for name in ("chi", "m", "q"))
    logarithmic = {S.chi: sp.exp(log_chi), S.m: sp.exp(log_m), S.q: sp.exp(log_q)}
    back = {log_chi: sp.log(S.chi), log_m: sp.log(S.m), log_q: sp.log(S.q)}
    ratios = [sp.expand(first.rhs * S.chi), second.rhs / S.m, third.rhs / S.q]
    outputs: list[tuple[str, sp.Expr]] = [
        ("product", S.inverse_chi * S.z_bar - S.lam),
        *((f"equation_{name}", _finite(ratio) - 1) for name, ratio in zip(("chi", "m", "q"), ratios, strict=True)),
    ]
    # ratio 1 is e^(-log of 1/chi) rhs; a change of log chi moves left-hand side and right-hand side.
    variables = (log_chi, log_m, log_q)
    for name, ratio in zip(("chi", "m", "q"), ratios, strict=True):
        for variable, other in zip(variables, ("chi", "m", "q"), strict=True):
            entry = sp.diff(ratio.subs(logarithmic), variable).subs(back)
            outputs.append((f"d_{name}_d_{other}", _finite(sp.simplify(entry))))
    return tuple((name, sp.simplify(value.subs(definition))) for name, value in outputs)


def _finite(expression: sp.Expr) -> sp.Expr:
    """Write chi through 1/chi and lam chi, so that lam = 0 with chi infinite is a regular point."""
    expression = sp.expand(expression)
    with_ridge = sp.Add(*(term for term in sp.Add.make_args(expression) if term.has(S.lam)))
    rest = expression - with_ridge
    ridge = sp.cancel(with_ridge / (S.lam * S.chi)) * S.z_bar
    return ridge + sp.cancel(sp.together(rest.subs(S.chi, 1 / S.inverse_chi)))


def _fixed_point_map(derivation: Derivation) -> tuple[tuple[str, sp.Expr], ...]:
    system = derivation.system
    first, second, third = system.equations
    definition = {S.a: system.a_definition.rhs}
    return (
        ("chi", (1 / first.rhs).subs(definition)),
        ("m", second.rhs.subs(definition)),
        ("q", third.rhs.subs(definition)),
    )


def _gradients(form: ClosedForm) -> tuple[tuple[str, sp.Expr], ...]:
    """Total derivatives of e_icl, carried along the definitions by the chain rule.

    z is differentiated implicitly: dz/dp = (dF/dp)/s, because dF/dz = -s on the physical root of the quadratic F.
    Definitions through |d| are replaced by their smooth equals, so that no derivative of |d| appears.
    """
    smooth = {**dict(form.definitions), S.z_bar: 1 - S.z, S.replicon: 1 - S.z**2 / S.tau}
    chain = (S.b, S.b_test, S.a, S.ell, S.z, S.z_bar, S.replicon, S.m, S.e_idg, S.v)
    result = []
    for parameter in (S.tau, S.alpha, S.alpha_test, S.rho, S.lam):
        slopes: dict[sp.Symbol, sp.Expr] = {parameter: sp.S.One}

        def total(expression: sp.Expr, slopes: dict[sp.Symbol, sp.Expr] = slopes) -> sp.Expr:
            return sp.Add(*(sp.diff(expression, symbol) * slope for symbol, slope in slopes.items()))

        for symbol in chain:
            slopes[symbol] = total(form.quadratic) / S.s if symbol == S.z else total(smooth[symbol])
        result.append((str(parameter), total(smooth[S.e_icl])))
    return tuple(result)


def compile_function(
    function: GeneratedFunction, backend: str, *, cse: bool = True
) -> Callable[..., tuple[object, ...]]:
    """lambdify one function.

    Parameters
    ----------
    function
        What to generate.
    backend
        "numpy" or "mpmath".
    cse
        Common subexpressions are computed once; off for comparison in tests. Functions with definitions of their own
        always keep them: their order is what avoids cancellation.

    Raises
    ------
    ValueError
        An expression has a symbol that is neither argument nor definition.
    """
    expressions = [value for _, value in function.outputs]
    declared, undeclared = set(function.arguments), set()
    for symbol, value in function.definitions or ():
        undeclared |= value.free_symbols - declared
        declared.add(symbol)
    undeclared |= {symbol for value in expressions for symbol in value.free_symbols} - declared
    if undeclared:
        raise ValueError(f"{function.name}: {sorted(map(str, undeclared))} are neither arguments nor definitions")
    definitions = function.definitions

    def own(values: Sequence[sp.Expr]) -> tuple[list[tuple[sp.Symbol, sp.Expr]], list[sp.Expr]]:
        needed = {symbol for value in values for symbol in value.free_symbols}
        kept = []
        for symbol, value in reversed(definitions or ()):
            if symbol in needed:
                kept.append((symbol, value))
                needed |= value.free_symbols
        replacements, reduced = sp.cse(list(values), symbols=sp.numbered_symbols("t"))
        return [*reversed(kept), *replacements], reduced

    printer = BACKENDS[backend][0]({"fully_qualified_modules": True, "inline": True})
    return sp.lambdify(
        function.arguments,
        expressions,
        # The printer writes qualified names, so the backend must be known by its own name, too.
        modules=[{backend: import_module(backend)}, backend],
        printer=printer,
        cse=own if definitions is not None else cse,
        docstring_limit=0,
    )


def module_source(derivation: Derivation, backend: str) -> str:
    """The generated module for one backend; every proof of the derivation is done before."""
    _, how, kept = BACKENDS[backend]
    lines = [
        f'"""Generated by `python -m iclglass.numerics.codegen` with SymPy {sp.__version__}; do not edit.',
        "",
        f"{how.capitalize()}.",
        '"""',
        "",
        "from typing import Any",
        "",
        f"import {backend}",
        "",
        f"SYMPY_VERSION = {sp.__version__!r}",
        "OUTPUTS = {",
    ]
    table = [function for function in functions(derivation.prove()) if kept is None or function.name in kept]
    for function in table:
        lines.append(f"    {function.name!r}: {tuple(name for name, _ in function.outputs)!r},")
    lines.append("}")
    for function in table:
        source = inspect.getsource(compile_function(function, backend))
        body = textwrap.dedent(source.split("\n", 1)[1]).strip()
        arguments = ", ".join(f"{argument}: Any" for argument in function.arguments)
        lines += [
            "",
            "",
            f"def {function.name}({arguments}) -> tuple[Any, ...]:",
            f'    """{function.text} Returns OUTPUTS["{function.name}"], in that order."""',
            textwrap.indent(_as_tuple(body), "    "),
        ]
    return "\n".join(lines) + "\n"


def _as_tuple(body: str) -> str:
    head, _, result = body.rpartition("return [")
    return f"{head}return ({result.rstrip().removesuffix(']')},)"


def main(directory: Path) -> None:
    """Write both generated modules."""
    derivation = derive()
    for backend in BACKENDS:
        path = directory / f"generated_{backend}.py"
        path.write_text(module_source(derivation, backend), encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).parent)
