"""Structure of the code, read from its syntax trees: layers, tools kept to one place, docstrings."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from iclglass.validation.paper import catalogue

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("replica", "numerics", "validation", "iclglass")
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree):
    """Full dotted names of everything imported, anywhere in the module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(tree):
    """First parts of what is imported; of our own packages the layer, `iclglass` for the front door itself."""
    parts = (name.split(".") for name in imported(tree))
    return {part[1] if part[0] == "iclglass" and part[1:2] and part[1] in LAYERS else part[0] for part in parts}


def called(tree):
    """(name, node) of every call, by the last part of the called name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, node
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr, node


def module_of(path):
    """Dotted name in Python: the layers are inside `iclglass`."""
    parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
    return ".".join(parts if parts[0] == "iclglass" else ["iclglass", *parts])


STUB = ast.walk(tree_of(ROOT / "iclglass/__init__.pyi"))
LOADED_BY_NAME = {
    "iclglass": {f"iclglass.{node.module}" for node in STUB if isinstance(node, ast.ImportFrom)},
    catalogue.__name__: catalogue.FIGURES.values(),
}
"""Modules that import others by names which are data."""


def import_graph(trees):
    """Module -> modules that it imports, in functions too, but not those that only type checkers see."""
    graph = {}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                node.body = []
        graph[name] = imported(tree).union(LOADED_BY_NAME.get(name, ())) & set(trees)
    return graph


@pytest.fixture(params=SOURCES, ids=name_of)
def source(request):
    return request.param


def test_sources_are_found():
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} >= {"replica", "numerics", "validation"}
    assert len(SOURCES) > 20


def test_each_layer_imports_only_the_ones_below(source):
    layer = source.relative_to(ROOT).parts[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    assert not roots(tree_of(source)) & above


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter(import_graph({module_of(path): tree_of(path) for path in SOURCES})).prepare()


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        ("import iclglass.low", True),
        ("from iclglass import low", True),
        ("from iclglass.low import name as other", True),
        ("def f():\n    from iclglass.low import name", True),
        ("from iclglass.high import name", True),  # itself
        ("if TYPE_CHECKING:\n    from iclglass.low import name\nelse:\n    name = 1", False),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from iclglass.low import name", True),
    ],
)
def test_a_circle_would_be_found(text, circle):
    """Of low, which imports middle in a function, which imports high, whose text is given."""
    low, middle = "def f():\n    from iclglass import middle", "from iclglass.high import name"
    texts = {"iclglass.low": low, "iclglass.middle": middle, "iclglass.high": text}
    order = TopologicalSorter(import_graph({name: ast.parse(text) for name, text in texts.items()}))
    if circle:
        with pytest.raises(CycleError):
            order.prepare()
    else:
        order.prepare()


def test_modules_import_by_names_that_are_data_only_where_the_graph_knows_it():
    loaders = {"import_module", "attach_stub"}
    loading = {module_of(path) for path in SOURCES if any(name in loaders for name, _ in called(tree_of(path)))}
    assert loading - {"iclglass.numerics.codegen"} == set(LOADED_BY_NAME)  # which imports a library


def test_tests_are_not_imported_by_the_code(source):
    assert not roots(tree_of(source)) & {"tests", "pytest", "hypothesis"}


def test_sympy_only_in_the_symbolic_layer_and_the_code_generator(source):
    if "sympy" in roots(tree_of(source)):
        assert (
            name_of(source).startswith(("replica/", "numerics/lowering/")) or name_of(source) == "numerics/codegen.py"
        )


def test_the_symbolic_layer_knows_no_numerical_library(source):
    if name_of(source).startswith("replica/"):
        assert not roots(tree_of(source)) & {"numpy", "scipy", "mpmath", "xarray", "matplotlib", "numerics"}


def test_lambdify_only_where_expressions_become_functions(source):
    tree = tree_of(source)
    uses = any(name == "lambdify" for name, _ in called(tree)) or any("lambdify" in name for name in imported(tree))
    assert not uses or name_of(source) in ("numerics/codegen.py", "numerics/lowering/functions.py")


PACKAGES = sorted({path.parent for path in SOURCES} - {ROOT / "iclglass", ROOT / "validation/training"})


def modules_of(package):
    inside = {path.parent if path.stem == "__init__" else path.with_suffix("") for path in package.glob("*.py")}
    return {path.name for path in inside | {path.parent for path in package.glob("*/__init__.py")}} - {package.name}


def listed(package):
    """Modules that begin a line of the package's docstring, alone or with commas between them, in order."""
    text = ast.get_docstring(tree_of(package / "__init__.py"))
    starts = [re.match(r"\s*((?:\w+, )*\w+)\s", line + " ") for line in text.splitlines()]
    return [name for start in starts if start for name in start[1].split(", ") if name in modules_of(package)]


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_every_module_is_in_the_list_of_its_package(package):
    text = ast.get_docstring(tree_of(package / "__init__.py"))
    patterns = [name[:-1] for name in re.findall(r"\w+_\*", text)]  # fig_*
    missing = [name for name in modules_of(package) if not re.search(rf"\b{name}\b", text)]
    assert not [name for name in missing if not name.startswith(tuple(patterns))]


@pytest.mark.parametrize("layer", ["replica", "numerics"])
def test_each_module_uses_only_those_listed_above_it(layer):
    """The sentence under the list: "Each module uses only those above it"."""
    order, found = listed(ROOT / layer), set()
    assert len(order) == len(set(order)) > 10
    for path in (path for path in SOURCES if path.relative_to(ROOT).parts[0] == layer):
        module = path.relative_to(ROOT / layer).parts[0].removesuffix(".py")
        used = {name.split(".")[2] for name in imported(tree_of(path)) if name.startswith(f"iclglass.{layer}.")}
        if module in order:
            found |= {(module, name) for name in used & set(order[order.index(module) + 1 :])}
    assert not found


def test_limits_are_taken_only_where_numbers_guard_them(source):
    """SymPy's own limits, series and substitutions of 0: only in `replica.guarded_limit`."""
    if source.parent.name != "replica" or source.stem == "guarded_limit":
        return
    for name, node in called(tree_of(source)):
        assert name not in {"Limit", "gruntz", "series", "nseries", "lseries", "leadterm", "as_leading_term"}
        own = isinstance(node.func, ast.Name)  # ours, which guards
        assert name != "limit" or own, f"line {node.lineno}"
        put_in = (
            [node.args[1]]
            if len(node.args) == 2
            else [v for a in node.args if isinstance(a, ast.Dict) for v in a.values]
        )
        zero = any(isinstance(value, ast.Constant) and value.value == 0 for value in put_in)
        assert name not in {"subs", "xreplace"} or not zero, f"line {node.lineno}"


def test_every_public_name_is_defined_and_documented(source):
    tree = tree_of(source)
    assert source.stat().st_size == 0 or ast.get_docstring(tree), "the module has no docstring"
    public, defined, documented, values = set(), set(), set(), set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
            if ast.get_docstring(node):
                documented.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            values |= names
            if "__all__" in names:
                public = set(ast.literal_eval(node.value))
    # A front door that loads lazily names what it loads under "if TYPE_CHECKING".
    values |= {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert public <= defined | values
    assert not (public & defined) - documented


def test_public_functions_of_the_theory_have_examples_or_equations():
    """Every public class and function of replica/ and numerics/ says more than its name."""
    for path in SOURCES:
        if path.parent.name not in {"replica", "numerics"}:
            continue
        for node in tree_of(path).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert len((ast.get_docstring(node) or "").split()) >= 3, f"{name_of(path)}: {node.name}"
