"""Generated code: fresh, the same on both backends, with and without cse; derivatives against differences."""

import inspect
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp

from iclglass.numerics import codegen, generated_mpmath, generated_numpy
from iclglass.numerics.codegen import GeneratedFunction, compile_function, functions, module_source
from iclglass.replica import symbols as S
from iclglass.replica.derivation import derive
from tests.numerics import reference
from tests.tolerances import BACKENDS, CSE, DERIVATIVE

MODULES = {"numpy": generated_numpy, "mpmath": generated_mpmath}
NAMES = list(generated_numpy.OUTPUTS)
ORDER = ("tau", "alpha", "alpha_test", "rho", "lam", "T")


@pytest.fixture(scope="module")
def fresh():
    """Name -> function of a fresh derivation: made for the first test that asks, not while tests are collected."""
    return {function.name: function for function in functions(derive())}


def sample(seed, size):
    """Parameters over several decades, not at the threshold, as rows."""
    rng = np.random.default_rng(seed)
    tau = 10.0 ** rng.uniform(-1.5, 1.5, size)
    alpha, alpha_test = 10.0 ** rng.uniform(-1, 2, (2, size))
    rho = rng.uniform(0, 3, size)
    lam = 10.0 ** rng.uniform(-3, 1, size)
    temperature = 10.0 ** rng.uniform(-2, 1, size)
    return np.stack([tau, alpha, alpha_test, rho, lam, temperature], axis=1)


def arguments_of(function, point):
    """Arguments by symbol: parameters from the point, order parameters from the solution there."""
    values = dict(zip(ORDER, map(float, point), strict=True))
    exact = reference.saddle_point(*values.values(), digits=40)
    values |= {name: float(number) for name, number in exact.items()}
    values |= {"inverse_chi": 1 / values["chi"], "z_bar": values["lam"] * values["chi"]}
    values["z"] = values["m"] * (1 + (1 + values["rho"]) / values["alpha"])
    values |= {"D": 7.0, "N": 11.0, "norm": 12.0}
    values |= {"E_0": 0.3, "chi_icl": 1.7, "V_T": -2.4, "n_s": 1.2}
    values |= {"eta": 1.4, "eta_high": 1.8, "gamma_s": 0.6}
    return [values[str(symbol)] for symbol in function.arguments]


def agree(left, right, tolerance, *, sums=True):
    """Relative to the largest of 1 and the value where terms of both signs are summed, else to the value."""
    for one, other in zip(left, right, strict=True):
        scale = max(1, abs(other)) if sums else abs(other)
        assert abs(mpmath.mpf(float(one)) - mpmath.mpf(str(other))) <= tolerance * scale


@pytest.mark.parametrize("backend", MODULES)
@pytest.mark.skipif(
    sp.__version__ != generated_numpy.SYMPY_VERSION,
    reason=f"generated with SymPy {generated_numpy.SYMPY_VERSION}; another orders terms in another way",
)
def test_generated_modules_are_fresh(backend):
    text = Path(MODULES[backend].__file__).read_text(encoding="utf-8")
    assert text == module_source(derive(), backend), "run `python -m iclglass.numerics.codegen`"


def test_generated_signatures(fresh):
    assert set(generated_numpy.OUTPUTS) == set(fresh)
    assert set(generated_mpmath.OUTPUTS) == {"closed_form", "thermal"}
    for module in MODULES.values():
        for name, outputs in module.OUTPUTS.items():
            generated, function = getattr(module, name), fresh[name]
            assert list(inspect.signature(generated).parameters) == [str(symbol) for symbol in function.arguments]
            assert outputs == tuple(key for key, _ in function.outputs)
            assert f'OUTPUTS["{name}"]' in generated.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_stored_code_gives_the_numbers_of_a_fresh_derivation(fresh, name):
    """Under every version of SymPy: with and without cse, by both backends (mpmath to 50 digits), and elementwise."""
    function, stored = fresh[name], getattr(generated_numpy, name)
    numpy_roads = [compile_function(function, "numpy", cse=cse) for cse in (True, False)]
    exact_roads = [compile_function(function, "mpmath", cse=cse) for cse in (True, False)]
    exact_roads += [road for road in [getattr(generated_mpmath, name, None)] if road]
    sums = name in ("residuals", "thermal", "thermodynamics", "observables", "gradients")
    points = np.array([arguments_of(function, point) for point in sample(4, 40)])
    together = [np.broadcast_to(values, len(points)) for values in stored(*points.T)]
    for index, point in enumerate(points):
        double = stored(*point)
        # Powers of arrays and of scalars differ in the last bit.
        agree([values[index] for values in together], double, CSE)
        for road in numpy_roads:
            agree(double, road(*point), CSE)
        with mpmath.workdps(50):
            for road in exact_roads:
                agree(double, road(*map(mpmath.mpf, point)), BACKENDS, sums=sums)


@pytest.mark.parametrize("name", NAMES)
def test_generated_code_equals_the_symbolic_expressions(fresh, name):
    """Definitions substituted by SymPy itself, evaluated with 30 digits, against the generated NumPy code."""
    function = fresh[name]
    for point in sample(2, 2):
        arguments = arguments_of(function, point)
        values = {symbol: sp.Float(value, 60) for symbol, value in zip(function.arguments, arguments, strict=True)}
        for symbol, definition in function.definitions or ():
            if symbol not in values:
                values[symbol] = sp.N(definition.subs(values), 50)
        exact = [sp.N(sp.sympify(value).subs(values), 30) for _, value in function.outputs]
        agree(getattr(generated_numpy, name)(*arguments), exact, BACKENDS)


@pytest.mark.parametrize("definitions", [None, ((S.a, 1 + S.b),), ((S.chi, 1 + S.m),)])
@pytest.mark.parametrize("backend", MODULES)
def test_an_undeclared_symbol_is_refused(definitions, backend):
    function = GeneratedFunction("broken", (S.tau, S.b), (("x", S.tau + S.chi),), definitions, "broken")
    with pytest.raises(ValueError, match=r"broken: \['(chi|m)'\] are neither arguments nor definitions"):
        compile_function(function, backend)


def test_a_piecewise_without_a_last_branch_is_not_printed():
    half = sp.Piecewise((S.tau, S.tau > 1))
    with pytest.raises(ValueError, match="must have a last branch without condition"):
        compile_function(GeneratedFunction("broken", (S.tau,), (("x", half),), None, "broken"), "numpy")


@pytest.mark.slow
def test_main_writes_both_modules(tmp_path):
    codegen.main(tmp_path)
    for backend in MODULES:
        text = (tmp_path / f"generated_{backend}.py").read_text(encoding="utf-8")
        assert text == module_source(derive(), backend)


@pytest.mark.parametrize("parameter", ["tau", "alpha", "alpha_test", "rho", "lam"])
def test_gradients_against_central_differences(fresh, parameter):
    """d e_icl/d parameter from the independent solve, step 1e-20 at 80 digits; relative error <= 1e-10.

    Relative to the derivative, or to the largest scale of the problem where the derivative passes through zero.
    """
    index = generated_numpy.OUTPUTS["gradients"].index(parameter)
    position, precise = ORDER.index(parameter), compile_function(fresh["gradients"], "mpmath")
    for point in sample(6, 25):
        with mpmath.workdps(80):
            exact = [mpmath.mpf(float(value)) for value in point]
            difference = central(lambda *moved: reference.saddle_point(*moved)["e_icl"], exact, position)
            assert abs(precise(*exact)[index] / difference - 1) <= DERIVATIVE
            scale = max(abs(difference), reference.saddle_point(*exact)["e_icl"] / exact[position] / 1000)
        double = generated_numpy.gradients(*map(float, point))[index]
        assert abs(mpmath.mpf(float(double)) - difference) <= DERIVATIVE * scale


def central(function, at, position):
    """Derivative by one argument, from a step of 1e-20 of it, or of 1e-20."""
    step = (abs(at[position]) or 1) * mpmath.mpf(10) ** -20
    high, low = (function(*at[:position], at[position] + sign * step, *at[position + 1 :]) for sign in (1, -1))
    return (high - low) / (2 * step)


def equations(tau, alpha, _, rho, lam, __):
    """Right-hand side over left-hand side of the three equations as they stand in the notes."""
    a = 1 + (1 + rho) / alpha
    return {
        "chi": lambda chi, m, q: chi * (lam + a / (1 + a * chi / tau)),
        "m": lambda chi, m, q: chi / (1 + a * chi / tau) / m,
        "q": lambda chi, m, q: (m**2 + a / tau * m**2 * (1 + rho - 2 * m + a * q)) / q,
    }


def test_residuals_and_their_jacobian_against_differences(fresh):
    """At points off the solution, so that residuals are not zero; derivatives by the logarithms of chi, m, q."""
    names, precise = generated_numpy.OUTPUTS["residuals"], compile_function(fresh["residuals"], "mpmath")
    rng = np.random.default_rng(8)
    for point in sample(7, 20):
        with mpmath.workdps(60):
            parameters = [mpmath.mpf(float(value)) for value in point]
            ratios = equations(*parameters)
            solution = reference.saddle_point(*parameters)
            off = [solution[name] * float(np.exp(rng.normal(scale=0.3))) for name in ratios]
            chi, m, q = off
            # lam chi times 1/chi is lam exactly here.
            expected = {"product": mpmath.mpf(0)}
            expected |= {f"equation_{name}": ratio(*off) - 1 for name, ratio in ratios.items()}
            for name, ratio in ratios.items():
                for column, other in enumerate(ratios):
                    expected[f"d_{name}_d_{other}"] = off[column] * central(ratio, off, column)
            assert set(expected) == set(names)
            arguments = (1 / chi, parameters[4] * chi, m, q, *parameters)
            for found in (precise(*arguments), generated_numpy.residuals(*map(float, arguments))):
                for name, value in zip(names, found, strict=True):
                    assert abs(value - expected[name]) <= DERIVATIVE * (1 + abs(expected[name])), name
