"""The examples in docstrings, module by module, under the names that users import."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def module_names():
    for layer in ("iclglass", "replica", "numerics", "validation"):
        for path in sorted((ROOT / layer).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if ">>> " in path.read_text(encoding="utf-8"):
                yield name if layer == "iclglass" else f"iclglass.{name}"


def test_there_are_examples_in_every_layer():
    assert {name.split(".")[1] for name in module_names()} >= {"replica", "numerics", "validation"}


@pytest.mark.parametrize("name", list(module_names()))
def test_examples_print_what_they_say(name):
    if name.endswith(("torch_backend", "architectures")):
        pytest.importorskip("torch")
    found = doctest.testmod(import_module(name))
    assert found.attempted
    assert not found.failed
