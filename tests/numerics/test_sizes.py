"""Scaled parameters and integers: one place, held against exact arithmetic and the symbolic layer."""

import ast
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_size import solve_finite, solve_given_pool
from iclglass.numerics.sizes import count, counts, divisor, from_unscaled, sizes_at, to_unscaled
from iclglass.numerics.state_evolution import state_evolution
from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention
from iclglass.validation.simulation import simulate
from iclglass.validation.sweeping.grid import make_grid

ROOT = Path(__file__).resolve().parents[2]
SCALED = ("task_diversity", "context_length", "test_context_length", "distinct_tasks")
POINT = {"task_diversity": 1.5, "context_length": 2.0}


@pytest.mark.parametrize("name", SCALED)
def test_halves_are_rounded_to_even(name):
    """Against fractions: parameters with few binary digits, whose products are exact."""
    power = 2 if name == "task_diversity" else 1
    halves = 0
    for eighths in range(1, 40):
        for dimension in range(2, 40):
            exact = Fraction(eighths, 8) * dimension**power
            halves += exact.denominator == 2
            if exact > Fraction(1, 2):
                assert count(name, eighths / 8, dimension) == round(exact)
    assert halves > 50


def test_one_number_of_prompts_for_theory_and_simulation():
    """0.02 * 35**2 is 24.5 and 0.02 * 35 * 35 the next double above, which is 25 prompts."""
    given = {"task_diversity": 0.02, "context_length": 0.2, "ridge": 0.5}
    options = {"samples": 1, "seed": 0, "theory": False, "method": None, "options": {}}
    (point,) = make_grid(given | {"dimension": 35}, road="simulation", **options).points
    drawn = simulate(**given, dimensions=[35], samples=2, workers=1)
    assert (math.nextafter(24.5, 25), 24.5) == (0.02 * 35 * 35, 0.02 * 35**2)
    assert {point.prompts, *drawn.prompts, int(solve_finite(**given, dimension=35).prompts)} == {24}


def test_arrays_and_numbers_have_the_same_counts():
    rng = np.random.default_rng(0)
    scaled = {name: rng.uniform(0.3, 4.0, 60) for name in SCALED}
    scaled["task_diversity"] += 1.0  # as many prompts as tasks at least
    scaled["distinct_tasks"][::3] = math.inf
    dimension = rng.integers(4, 50, 60)
    found = counts(scaled, dimension)
    for index, size in enumerate(dimension):
        one = sizes_at(int(size), {name: values[index] for name, values in scaled.items()})
        assert (one.prompts, one.context, one.test_context) == tuple(
            found[name][index] for name in ("prompts", "context", "test_context")
        )
        assert one.task_count == (one.prompts if index % 3 == 0 else found["task_count"][index])


def test_norm_and_defaults():
    one = sizes_at(8, POINT, "N+1")
    assert (one.prompts, one.context, one.test_context, one.task_count) == (96, 16, 16, 96)
    assert (one.divisor, sizes_at(8, POINT).divisor) == (17, 16)
    np.testing.assert_array_equal(divisor(np.array([3.0, 4.0]), "N+1"), [4.0, 5.0])
    with pytest.raises(ParameterError, match="norm"):
        divisor(3, "D")


def test_smallest_usable_dimension_is_the_smallest():
    for name in SCALED:
        for scaled in np.geomspace(1e-3, 0.1, 25):
            with pytest.raises(ParameterError) as refused:
                count(name, scaled, 2)
            least = int(str(refused.value).rsplit(" ", 1)[1])
            assert count(name, scaled, least) == 1
            with pytest.raises(ParameterError, match=f"= 0 at dimension {least - 1};"):
                count(name, scaled, least - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_diversity": 0.01}, r"task_diversity = 0.01 gives P = round\(tau D\^2\) = 0 at dimension 6; .* is 8$"),
        ({"context_length": 0.05}, r"context_length = 0.05 gives N = round\(alpha D\) = 0 at dimension 6; .* is 11$"),
        ({"context_length": 1e200}, r"N = round\(alpha D\) = 6e\+200 at dimension 6, beyond 1e\+15$"),
        ({"task_diversity": 1e307}, r"P = round\(tau D\^2\) = inf at dimension 6, beyond 1e\+15$"),
        ({"distinct_tasks": 0.01}, r"distinct_tasks = 0.01 gives K = round\(kappa D\) = 0 at dimension 6"),
        ({"test_context_length": 0.01}, r"test_context_length = 0.01 gives round\(alpha_test D\) = 0 at dimension 6"),
    ],
)
def test_one_wording_for_theory_and_simulation(change, message):
    calls = [(solve_finite, {"dimension": [[6], [40]]}), (simulate, {"dimensions": [6, 40]})]
    if "distinct_tasks" not in change:
        calls.append((state_evolution, {"dimension": 6}))
    for function, sizes in calls:
        with pytest.raises(ParameterError, match=message):
            function(**{**POINT, **change}, **sizes)


@pytest.mark.parametrize(("kappa", "tasks"), [(50.0, "300"), (1e308, "inf")])
def test_more_tasks_than_prompts(kappa, tasks):
    message = rf"^distinct_tasks = {kappa:g} gives K = {tasks} tasks at dimension 6, more than its P = 54 prompts; use "
    for refused in (lambda: solve_finite(**POINT, dimension=6, distinct_tasks=[1.0, kappa]),
                    lambda: simulate(**POINT, dimensions=[6], distinct_tasks=kappa)):  # fmt: skip
        with pytest.raises(ParameterError, match=message.replace("+", r"\+")):
            refused()
    with pytest.raises(ParameterError, match=r"^tasks hold K = 55 tasks at dimension 6, more than its P = 54 prompts"):
        solve_given_pool(np.ones((55, 6)), **POINT)


def test_scaling_is_that_of_the_symbolic_layer():
    """P, N, lambda0 and beta as `Model.scaling` has them, and back."""
    dimension, values = 7, {S.D: 7, S.tau: 3, S.alpha: 2, S.lam: sp.Rational(1, 4), S.betahat: 4}
    scaling = {symbol: float(value.subs(values)) for symbol, value in linear_attention().scaling if symbol != S.norm}
    unscaled = {"ridge0": scaling[S.lambda0], "beta": scaling[S.beta]}
    assert to_unscaled(dimension, ridge=0.25, temperature=0.25) == unscaled
    one = sizes_at(dimension, {"task_diversity": 3.0, "context_length": 2.0})
    assert (one.prompts, one.context) == (scaling[S.P], scaling[S.N])
    back = from_unscaled(
        dimension, prompts=one.prompts, context=one.context, **unscaled, task_count=14, test_context=21
    )
    expected = {"task_diversity": 3, "context_length": 2, "distinct_tasks": 2, "test_context_length": 3}
    assert back == expected | {"ridge": 0.25, "temperature": 0.25}


def test_whole_counts_survive_the_way_to_scaled_parameters_and_back():
    sizes, numbers = np.meshgrid(np.arange(2, 60), np.arange(1, 400))
    scaled = from_unscaled(sizes, prompts=numbers, context=numbers, task_count=numbers, test_context=numbers)
    for name in SCALED:
        np.testing.assert_array_equal(count(name, scaled[name], sizes), numbers)


def of(node):
    """Names and attributes in an expression, without underscores in front."""
    for part in ast.walk(node):
        if isinstance(part, (ast.Name, ast.Attribute)):
            yield (part.id if isinstance(part, ast.Name) else part.attr).strip("_").lower()
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


DIMENSION = {"dimension", "dimensions", "size", "sizes"}
TOKENS = {"context", "contexts", "tokens", "task_count", "task_counts", "test_context", "test_contexts"}
LENGTHS = {*SCALED, "tau", "alpha", "kappa"}


def binary(node, operator):
    return isinstance(node, ast.BinOp) and isinstance(node.op, operator)


def is_dimension(node, power):
    if power == 2:
        return binary(node, ast.Pow) and is_dimension(node.left, 1)
    if isinstance(node, ast.Subscript):  # flat["dimension"]
        return isinstance(node.slice, ast.Constant) and node.slice.value in DIMENSION
    return isinstance(node, (ast.Name, ast.Attribute)) and bool(DIMENSION & set(of(node)))


def kinds(node):
    """What of numerics/sizes.py an expression repeats."""
    if isinstance(node, ast.Call) and {"round", "rint"} & {
        getattr(node.func, "attr", ""),
        getattr(node.func, "id", ""),
    }:
        products = (part for part in ast.walk(node) if binary(part, ast.Mult))
        if any(DIMENSION & set(of(product)) for product in products):
            yield "rounding"
    elif isinstance(node, ast.Compare) and "norm" in of(node.left):
        if {"N", "N+1"} & {name for side in node.comparators for name in of(side)}:
            yield "divisor"
    elif binary(node, ast.Div):
        above, below = set(of(node.left)), set(of(node.right))
        if (is_dimension(node.right, 2) and "prompts" in above) or (is_dimension(node.right, 1) and above & TOKENS):
            yield "count"
        if is_dimension(node.right, 1) and above & {"ridge", "lam"}:
            yield "ridge"
        if is_dimension(node.left, 2) and below & {"beta", "temperature"}:
            yield "temperature"
    elif binary(node, ast.Mult):
        sides = ((node.left, node.right), (node.right, node.left))
        if any(is_dimension(a, 1) and not isinstance(b, ast.Call) and "ridge0" in of(b) for a, b in sides):
            yield "ridge"
        if any((is_dimension(a, 1) or is_dimension(a, 2)) and LENGTHS & set(of(b)) for a, b in sides):
            yield "product"


EXCEPTIONS = {
    ("validation/paper/fig_3.py", "rounding"): 1,  # a fraction of the (D + 1)^2 spins, counted
    ("validation/paper/fig_s7.py", "rounding"): 1,  # the same, of its spins
    ("validation/baselines/known_law.py", "count"): 2,  # 1 - N/D is an error there, and X^T X/D no length
    ("benchmarks/samplers.py", "temperature"): 3,  # ridge0 is given as it is, and T scaled
}


def test_the_formulas_stand_in_one_place():
    found = Counter(
        (path.relative_to(ROOT).as_posix(), kind)
        for folder in ("replica", "numerics", "validation", "iclglass", "examples", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for kind in kinds(node)
    )
    here = {key for key in found if key[0] == "numerics/sizes.py"}
    assert {kind for _, kind in here} == {"count", "ridge", "rounding", "temperature"}
    assert {key: number for key, number in found.items() if key not in here} == EXCEPTIONS


ELSEWHERE = {
    "rounding": ["round(tau * dimension**2)", "int(np.rint(point[n][0] * size))", "(alpha * dimension).round()",
                 "round(kappa * data.dimension) if finite else 0", "np.rint(flat['ridge'] * flat['dimension'])"],
    "divisor": ["tokens if norm == 'N' else tokens + 1", "context + (self.norm == 'N+1')"],
    "product": ["sizes = task_diversity * dimension * dimension, 1"],
    "count": ["instance.prompts / size**2", "samples.prompts[row] / dimension**2", "law['context'] / dimension",
              "_CONTEXT / _DIMENSION"],
    "ridge": ["point.ridge / data.dimension", "flat['ridge'] / flat['dimension']", "dimension * values['ridge0']"],
    "temperature": ["dimension**2 / values['beta']", "dimension**2 / (point.temperature or 1.0)"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ELSEWHERE.items() for text in texts])
def test_a_formula_elsewhere_would_be_seen(text, kind):
    assert kind in {found for node in ast.walk(ast.parse(text)) for found in kinds(node)}


@pytest.mark.parametrize(
    "text",
    ["round(100 * tau)", "prompts * dimension**2", "weights @ signal / size", "round(16 / np.sqrt(dimension - 1))",
     "spins * temperature / (2 * size**2)", "context / divisor", "2 * dimension**2", "ridge0 * np.eye(dimension)"],
)  # fmt: skip
def test_other_arithmetic_is_left_alone(text):
    assert not [found for node in ast.walk(ast.parse(text)) for found in kinds(node)]
