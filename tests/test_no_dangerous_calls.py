"""No text or file can run code: read from the syntax trees of every source file, and planted violations are found."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("replica", "numerics", "validation", "iclglass", "examples", "benchmarks")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

# Unpickling runs code; what only writes such files invites someone to read them.
MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "code"}
# By full name, and for builtins by the bare one.
CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"),
    *("pandas.read_pickle", "pandas.eval", "numexpr.evaluate", "yaml.unsafe_load", "yaml.full_load"),
    *("sympy.parse_expr", "sympy.parsing.sympy_parser.parse_expr", "sympy.parsing.latex.parse_latex"),
    *("sympy.parsing.parse_expr", "sympy.parsing.mathematica.parse_mathematica", "sympy.core.sympify.kernS"),
}
SYMPIFY = {"sympy.sympify", "sympy.core.sympify", "sympy.core.sympify.sympify"}
ONE_OF_SYMPY = {"sympy.S", "sympy.core.singleton.S"}
NUMPY_LOAD = {"numpy.load", "numpy.lib.npyio.load", "numpy.lib.format.read_array", "numpy.lib.format.open_memmap"}
SUBPROCESS = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")}
YAML_LOAD = {"yaml.load", "yaml.load_all"}


def imports(tree):
    """What each name of a module stands for, in full: np -> numpy, load -> numpy.load."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full = alias.name if alias.asname else alias.name.split(".")[0]
                names[alias.asname or full] = full
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def full_name(node, names):
    """Dotted name of what is called, imports resolved; None for what has no name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def is_literal(node, value):
    return isinstance(node, ast.Constant) and node.value is value


def is_number(node):
    """A number written out, as in S(1) or S(-2): any other argument might be text."""
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def complaint(name, call):
    """What is wrong with one call; None if nothing is."""
    words = {word.arg: word.value for word in call.keywords}
    if name in CALLS:
        return "runs code"
    if name in SYMPIFY and not (is_literal(words.get("strict"), True)):
        return "evaluates text: strict=True refuses it"
    if name in ONE_OF_SYMPY and not all(map(is_number, call.args)):
        return "evaluates text"
    if name in NUMPY_LOAD and not is_literal(words.get("allow_pickle"), False):
        return "may unpickle: allow_pickle=False"
    if name in YAML_LOAD:
        return "constructs objects: yaml.safe_load"
    # By the last part too, as the module may be an argument; None is **options, which may hold shell.
    if "shell" in words and not is_literal(words["shell"], False):
        return "runs a shell"
    if name in SUBPROCESS and None in words:
        return "may run a shell: write the options out"
    if name == "torch.load" and not is_literal(words.get("weights_only"), True):
        return "unpickles: weights_only=True"
    return None


def violations(text):
    """Line and reason of everything in a source that may run text or a file as code."""
    tree = ast.parse(text)
    names = imports(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [(node.lineno, f"import of {module}") for module in modules if module.split(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            name = full_name(node.func, names)
            # An import by name of what the text of a string says.
            if name in ("importlib.import_module", "import_module") and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.Constant) and str(argument.value).split(".")[0] in MODULES:
                    found.append((node.lineno, f"import of {argument.value}"))
            reason = complaint(name, node) if name else None
            if reason:
                found.append((node.lineno, f"{name} {reason}"))
        elif isinstance(node, (ast.Name, ast.Attribute)):
            # Passed on as a value it is called where nobody looks: map(eval, ...).
            name = full_name(node, names)
            if name in ("eval", "exec") and isinstance(getattr(node, "ctx", None), ast.Load):
                found.append((node.lineno, f"{name} is named"))
    return found


def test_sources_of_every_folder_are_read():
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(FOLDERS)
    assert len(SOURCES) > 120


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_runs_text_or_files(path):
    assert violations(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "import marshal as m", "from shelve import open", "import dill", "from joblib import load"),
        *(
            "import cloudpickle",
            "from pickle import loads",
            "def f():\n    import pickle",
            "import joblib.numpy_pickle",
        ),
        "import importlib\nimportlib.import_module('pickle')",
        *("eval(text)", "exec(text)", "compile(text, '', 'exec')", "__import__('os')", "list(map(eval, texts))"),
        "import builtins\nbuiltins.eval('1')",
        *("import sympy\nsympy.sympify(text)", "import sympy as sp\nsp.sympify(text, strict=False)"),
        *("from sympy import sympify\nsympify('x')", "from sympy import sympify as s\ns(text)"),
        *("import sympy as sp\nsp.S('x')", "from sympy import S\nS(text)", "from sympy import S as one\none(f'{x}')"),
        *("from sympy.parsing.sympy_parser import parse_expr\nparse_expr(text)", "import sympy\nsympy.parse_expr(t)"),
        *("import numpy as np\nnp.load(path)", "import numpy as np\nnp.load(path, allow_pickle=True)"),
        "import numpy as np\nnp.load(path, allow_pickle=flag)",
        "from numpy import load\nload(path, mmap_mode='r')",
        "import numpy\nnumpy.load(path, None, **options)",
        "import numpy as np\nnp.lib.format.read_array(file)",
        *("import yaml\nyaml.load(text)", "from yaml import load\nload(text, Loader=SafeLoader)"),
        "import yaml\nyaml.unsafe_load(text)",
        *("import subprocess\nsubprocess.run(text, shell=True)", "from subprocess import run\nrun(text, shell=1)"),
        "import subprocess\nsubprocess.Popen(text, **options)",
        *("import os\nos.system(text)", "from os import popen\npopen(text)"),
        *("import torch\ntorch.load(path)", "import torch\ntorch.load(path, weights_only=False)"),
        "import pandas as pd\npd.read_pickle(path)",
    ],
)
def test_planted_violations_are_found(text):
    assert violations(text)
    # Wherever it stands.
    nested = "class A:\n    async def f(self):\n" + "".join(f"        {line}\n" for line in text.splitlines())
    assert violations(nested)


@pytest.mark.parametrize(
    "text",
    [
        "import re\nre.compile('a')",
        "import sympy as sp\nsp.sympify(value, strict=True)",
        "import sympy as sp\nsp.S(1) + sp.S(-2) + sp.S.One + sp.Symbol('x')",
        "from iclglass.replica.symbols import S\nS.w",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import subprocess\nsubprocess.run(['git', 'log'], check=True, shell=False)",
        "import torch\ntorch.load(path, weights_only=True)",
        "import yaml\nyaml.safe_load(text)",
        "dataset.load()",
        "import json\njson.load(file)",
        "from ast import literal_eval\nliteral_eval(text)",
    ],
)
def test_what_is_harmless_is_not_found(text):
    assert violations(text) == []
