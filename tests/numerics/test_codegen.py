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
FUNCTIONS = {function.name: function for function in functions(derive())}
ORDER = ("tau", "alpha", "alpha_test", "rho", "lam", "T")


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
    return [values[str(symbol)] for symbol in function.arguments]


def scaled_difference(left, right):
    """Largest difference, relative to the largest of 1 and the value: residuals are zero on a solution."""
    left, right = (np.array([float(value) for value in values]) for values in (left, right))
    return float(np.max(np.abs(left - right) / np.maximum(1.0, np.abs(right))))


@pytest.mark.parametrize("backend", MODULES)
@pytest.mark.skipif(
    sp.__version__ != generated_numpy.SYMPY_VERSION,
    reason=f"generated with SymPy {generated_numpy.SYMPY_VERSION}; another orders terms in another way",
)
def test_generated_modules_are_fresh(backend):
    text = Path(MODULES[backend].__file__).read_text(encoding="utf-8")
    assert text == module_source(derive(), backend), "run `python -m iclglass.numerics.codegen`"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_generated_signatures(name):
    for module in MODULES.values():
        generated = getattr(module, name)
        assert list(inspect.signature(generated).parameters) == [str(symbol) for symbol in FUNCTIONS[name].arguments]
        assert module.OUTPUTS[name] == tuple(key for key, _ in FUNCTIONS[name].outputs)
        assert f'OUTPUTS["{name}"]' in generated.__doc__
    assert set(generated_numpy.OUTPUTS) == set(FUNCTIONS)


@pytest.mark.parametrize("backend", MODULES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_generated_modules_equal_a_fresh_derivation_in_numbers(name, backend):
    """Holds for every version of SymPy."""
    function = FUNCTIONS[name]
    fresh, stored = compile_function(function, backend), getattr(MODULES[backend], name)
    for point in sample(1, 10):
        arguments = arguments_of(function, point)
        if backend == "mpmath":
            arguments = [mpmath.mpf(value) for value in arguments]
        assert scaled_difference(stored(*arguments), fresh(*arguments)) <= CSE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_generated_code_equals_the_symbolic_expressions(name):
    """Definitions substituted by SymPy itself, evaluated with 30 digits, against the generated NumPy code."""
    function = FUNCTIONS[name]
    for point in sample(2, 2):
        arguments = arguments_of(function, point)
        values = {symbol: sp.Float(value, 60) for symbol, value in zip(function.arguments, arguments, strict=True)}
        for symbol, definition in function.definitions or ():
            if symbol not in values:
                values[symbol] = sp.N(definition.subs(values), 50)
        exact = [sp.N(sp.sympify(value).subs(values), 30) for _, value in function.outputs]
        assert scaled_difference(getattr(generated_numpy, name)(*arguments), exact) <= BACKENDS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_cse_does_not_change_the_numbers(name):
    function = FUNCTIONS[name]
    for backend in MODULES:
        plain, shared = (compile_function(function, backend, cse=choice) for choice in (False, True))
        for point in sample(3, 5):
            arguments = arguments_of(function, point)
            if backend == "mpmath":
                arguments = [mpmath.mpf(value) for value in arguments]
            assert scaled_difference(shared(*arguments), plain(*arguments)) <= CSE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_against_mpmath(name):
    """The same formulas in double precision and with 50 digits; relative where the value is not a residual."""
    function = FUNCTIONS[name]
    sums = name in ("residuals", "thermal", "observables", "gradients")
    for point in sample(4, 40):
        arguments = arguments_of(function, point)
        double = getattr(generated_numpy, name)(*arguments)
        with mpmath.workdps(50):
            exact = getattr(generated_mpmath, name)(*(mpmath.mpf(value) for value in arguments))
            for key, left, right in zip(generated_numpy.OUTPUTS[name], double, exact, strict=True):
                # Sums of both signs are relative to their largest term, of order one or more.
                scale = max(1, abs(right)) if sums else abs(right)
                assert abs(mpmath.mpf(float(left)) - right) <= BACKENDS * scale, (key, point)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_functions_are_elementwise(name):
    function = FUNCTIONS[name]
    points = np.array([arguments_of(function, point) for point in sample(5, 6)])
    together = generated_numpy.__dict__[name](*points.T)
    for index, point in enumerate(points):
        alone = generated_numpy.__dict__[name](*point)
        for left, right in zip(together, alone, strict=True):
            # Powers of arrays and of scalars differ in the last bit.
            assert np.broadcast_to(left, 6)[index] == pytest.approx(float(right), rel=CSE, abs=CSE)


@pytest.mark.parametrize("definitions", [None, ((S.a, 1 + S.b),)])
@pytest.mark.parametrize("backend", MODULES)
def test_an_undeclared_symbol_is_refused(definitions, backend):
    function = GeneratedFunction("broken", (S.tau, S.b), (("x", S.tau + S.chi),), definitions, "broken")
    with pytest.raises(ValueError, match="broken: \\['chi'\\] are neither arguments nor definitions"):
        compile_function(function, backend)


def test_an_undeclared_symbol_of_a_definition_is_refused():
    function = GeneratedFunction("broken", (S.tau,), (("x", S.tau + S.a),), ((S.a, 1 + S.chi),), "broken")
    with pytest.raises(ValueError, match="chi"):
        compile_function(function, "numpy")


@pytest.mark.slow
def test_main_writes_both_modules(tmp_path):
    codegen.main(tmp_path)
    for backend in MODULES:
        text = (tmp_path / f"generated_{backend}.py").read_text(encoding="utf-8")
        assert text == module_source(derive(), backend)


@pytest.mark.parametrize("parameter", ["tau", "alpha", "alpha_test", "rho", "lam"])
def test_gradients_against_central_differences(parameter):
    """d e_icl/d parameter from the independent solve, step 1e-20 at 80 digits; relative error <= 1e-10.

    Relative to the derivative, or to the largest scale of the problem where the derivative passes through zero.
    """
    index = generated_numpy.OUTPUTS["gradients"].index(parameter)
    position = ORDER.index(parameter)
    for point in sample(6, 25):
        with mpmath.workdps(80):
            exact = [mpmath.mpf(float(value)) for value in point]
            step = exact[position] * mpmath.mpf(10) ** -20
            ends = []
            for sign in (1, -1):
                moved = list(exact)
                moved[position] += sign * step
                ends.append(reference.saddle_point(*moved)["e_icl"])
            difference = (ends[0] - ends[1]) / (2 * step)
            symbolic = generated_mpmath.gradients(*exact)[index]
            assert abs(symbolic / difference - 1) <= DERIVATIVE
        double = generated_numpy.gradients(*map(float, point))[index]
        scale = max(abs(difference), abs((ends[0] + ends[1]) / 2 / exact[position]) / 1000)
        assert abs(mpmath.mpf(float(double)) - difference) <= DERIVATIVE * scale


def equations(log_chi, log_m, log_q, parameters):
    """Right-hand side over left-hand side of the three equations as they stand in the notes."""
    tau, alpha, _, rho, lam, _ = parameters
    a = 1 + (1 + rho) / alpha
    chi, m, q = (mpmath.exp(value) for value in (log_chi, log_m, log_q))
    screening = 1 + a * chi / tau
    return (
        chi * (lam + a / screening),
        chi / screening / m,
        (m**2 + a / tau * m**2 * (1 + rho - 2 * m + a * q)) / q,
    )


def test_residuals_and_their_jacobian_against_differences():
    """At points off the solution, so that residuals are not zero; derivatives by the logarithms of chi, m, q."""
    names = generated_numpy.OUTPUTS["residuals"]
    rng = np.random.default_rng(8)
    for point in sample(7, 20):
        with mpmath.workdps(60):
            parameters = [mpmath.mpf(float(value)) for value in point]
            solution = reference.saddle_point(*parameters)
            off = [mpmath.log(solution[name]) + float(rng.normal(scale=0.3)) for name in ("chi", "m", "q")]
            chi, m, q = map(mpmath.exp, off)
            arguments = (1 / chi, parameters[4] * chi, m, q, *parameters)
            found = dict(zip(names, generated_mpmath.residuals(*arguments), strict=True))
            double = dict(zip(names, generated_numpy.residuals(*map(float, arguments)), strict=True))
            # lam chi times 1/chi is lam exactly here.
            assert abs(found["product"]) <= mpmath.mpf(10) ** -50
            centre = equations(*off, parameters)
            step = mpmath.mpf(10) ** -20
            for row, name in enumerate(("chi", "m", "q")):
                expected = centre[row] - 1
                assert abs(found[f"equation_{name}"] - expected) <= DERIVATIVE * (1 + abs(expected))
                assert abs(float(double[f"equation_{name}"]) - expected) <= DERIVATIVE * (1 + abs(expected))
                for column, other in enumerate(("chi", "m", "q")):
                    ends = []
                    for sign in (1, -1):
                        moved = list(off)
                        moved[column] += sign * step
                        ends.append(equations(*moved, parameters)[row])
                    difference = (ends[0] - ends[1]) / (2 * step)
                    key = f"d_{name}_d_{other}"
                    assert abs(found[key] - difference) <= DERIVATIVE * (1 + abs(difference)), key
                    assert abs(float(double[key]) - difference) <= DERIVATIVE * (1 + abs(difference)), key
