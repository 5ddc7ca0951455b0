"""The public names: all there, documented, with the promised signatures, and cheap to import."""

import ast
import importlib
import importlib.metadata
import inspect
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import iclglass

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = inspect.Parameter.empty
# What the interface promises; further keywords with defaults may be added between them, none may change.
PARAMETERS = {
    "task_diversity": REQUIRED,
    "context_length": REQUIRED,
    "label_noise": 0,
    "ridge": 0.1,
    "temperature": 0,
}
TESTED = {**PARAMETERS, "test_context_length": None}
SIGNATURES = {
    "solve": TESTED,
    "sweep": TESTED,
    "phase_diagram": TESTED,
    "validate": {**PARAMETERS, "dimension": (8, 12, 20, 32), "samples": 32, "seed": 0, "norm": "N"},
}
QUANTITIES = [
    *("m", "q", "q_self", "chi", "e_icl", "e_idg", "e_train", "contrast"),
    *("free_energy", "energy", "entropy", "replicon", "residual", "status"),
]


@pytest.mark.parametrize("name", iclglass.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name):
    found = getattr(iclglass, name)
    assert found.__name__ == name
    assert found.__module__.split(".")[1] in ("replica", "numerics", "validation")
    assert len(inspect.getdoc(found).split()) > 3


def test_star_import_gives_exactly_the_public_names():
    namespace = {}
    exec("from iclglass import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(iclglass.__all__)
    assert set(iclglass.__all__) <= set(dir(iclglass))
    assert iclglass.__all__ == sorted(iclglass.__all__)


def test_the_lazy_table_and_the_one_for_type_checkers_are_the_same():
    """A name moved in one and not in the other would be right for Python and wrong for mypy."""
    tree = ast.parse(Path(iclglass.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    assert typed == iclglass._HOME
    assert set(typed) == set(iclglass.__all__)
    for name, home in typed.items():
        assert name in importlib.import_module(home).__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'iclglass' has no attribute 'sovle'"):
        iclglass.sovle  # noqa: B018
    assert not hasattr(iclglass, "numpy")


def test_the_version_is_that_of_the_distribution():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == iclglass.__version__
    assert importlib.metadata.version("iclglass") == iclglass.__version__


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_those_of_the_interface(name):
    parameters = inspect.signature(getattr(iclglass, name)).parameters
    kinds = {word: parameter.kind for word, parameter in parameters.items() if word != "parameters"}
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
    for word, default in SIGNATURES[name].items():
        assert parameters[word].default == default, word
    for word in set(parameters) - set(SIGNATURES[name]):
        assert parameters[word].default is not REQUIRED, word


def test_digits_have_the_same_parameters():
    parameters = inspect.signature(iclglass.solve_digits).parameters
    for word, default in TESTED.items():
        assert parameters[word].default == pytest.approx(default) if default else word in parameters


@pytest.mark.parametrize("name", iclglass.__all__)
def test_every_function_says_its_arguments_and_annotates_them(name):
    found = getattr(iclglass, name)
    if not inspect.isfunction(found):
        return
    documentation = inspect.getdoc(found)
    signature = inspect.signature(found)
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter
        assert parameter.kind is not inspect.Parameter.VAR_KEYWORD
    assert signature.return_annotation is not inspect.Signature.empty
    if name in ("solve", "sweep", "phase_diagram", "solve_digits", "derive", "validate"):
        assert ">>> " in documentation


def test_a_solution_has_every_quantity_by_its_name():
    solution = iclglass.solve(task_diversity=[0.5, 1, 2], context_length=1.0, ridge=0.1)
    for name in QUANTITIES:
        assert getattr(solution, name).shape == (3,), name
    assert set(QUANTITIES) <= set(solution.to_dict())


def test_the_examples_of_the_interface_work():
    assert iclglass.solve(task_diversity=[0.5, 1, 2], context_length=1.0, ridge=0.1).e_icl.shape == (3,)
    dataset = iclglass.sweep(
        task_diversity=np.linspace(0.1, 4, 200), context_length=np.geomspace(0.2, 20, 100), ridge=0.1
    )
    assert dataset.e_icl.shape == (200, 100)
    agreement = iclglass.validate(task_diversity=2, context_length=1, dimension=(6, 8, 12), samples=8)
    assert isinstance(agreement, iclglass.Agreement)
    assert agreement.passed is None  # too few samples to judge
    assert float(iclglass.solve(task_diversity=3, context_length=5, ridge=1).e_icl) == pytest.approx(9 / 22, rel=1e-14)
    assert (
        iclglass.solve_digits(digits=20, task_diversity=3, context_length=5, ridge=1)
        .values["e_icl"]
        .startswith("0.409")
    )


def test_the_errors_are_the_builtin_kinds_users_catch():
    assert issubclass(iclglass.ParameterError, ValueError)
    assert issubclass(iclglass.ParameterTypeError, TypeError)
    assert issubclass(iclglass.OutputError, OSError)
    assert issubclass(iclglass.ConvergenceError, ArithmeticError)


@pytest.mark.parametrize("function", [iclglass.solve, iclglass.sweep, iclglass.validate], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("word", "value", "kind"),
    [
        ("task_diversity", math.nan, ValueError),
        ("task_diversity", 0, ValueError),
        ("task_diversity", "2", TypeError),
        ("context_length", -1, ValueError),
        ("context_length", None, TypeError),
        ("label_noise", -0.1, ValueError),
        ("label_noise", True, TypeError),
        ("ridge", math.inf, ValueError),
        ("ridge", 1j, TypeError),
        ("temperature", -1, ValueError),
        ("temperature", {}, TypeError),
    ],
)
def test_bad_input_is_a_value_or_type_error_that_names_the_parameter(function, word, value, kind):
    with pytest.raises(kind, match=word):
        function(**{"task_diversity": 2.0, "context_length": 1.0, word: value})


def loaded_by(code):
    listing = f"{code}\nimport sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


HEAVY = {
    "numpy",
    "scipy",
    "sympy",
    "mpmath",
    "matplotlib",
    "xarray",
    "h5netcdf",
    "rich",
    "psutil",
    "iclglass.numerics.sweep",
}


def test_importing_the_package_imports_nothing_heavy():
    assert not loaded_by("import iclglass") & HEAVY


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("iclglass.solve(task_diversity=2, context_length=1)", {"sympy", "xarray", "matplotlib", "scipy"}),
        ("iclglass.ParameterError", {"numpy", "sympy"}),
        ("iclglass.sweep(task_diversity=[1, 2], context_length=1)", {"sympy", "matplotlib"}),
        ("iclglass.validate", {"sympy", "matplotlib"}),
    ],
)
def test_a_name_imports_only_what_it_needs(code, forbidden):
    assert not loaded_by(f"import iclglass; {code}") & forbidden
