"""What a result follows from: modules by the syntax trees, digests of their code alone, the same wherever they lie."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from iclglass.numerics.running import source

ROOT = Path(__file__).resolve().parents[3]
LAYERS = ("iclglass", "numerics", "replica", "validation")
POINTS = ("iclglass.validation.sweeping.evaluation",)
SCRIPT = """
import json
from iclglass.numerics.running.resuming import program
from iclglass.numerics.storage import git_revision
print(json.dumps([program("iclglass.validation.sweeping.evaluation"), git_revision()]))
"""
USED = """
import os, sys, tempfile
from iclglass.cli import main
os.chdir(tempfile.mkdtemp())
sys.stdout = sys.stderr
assert main("sweep --simulate --tau 2 --alpha 1 --dimension 4 --samples 2 --out a.nc".split()) == 0
"""


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory):
    """The packages installed here without this one: no metadata say that it is installed."""
    folder = tmp_path_factory.mktemp("dependencies")
    for entry in Path(np.__file__).parents[1].iterdir():
        if "iclglass" not in entry.name and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def run_in(tree, dependencies, script=SCRIPT):
    """Program and revision of a copy in a tree, in a Python that knows nothing else."""
    paths = f"import sys; sys.path[:0] = [{str(tree)!r}]; sys.path.append({str(dependencies)!r})\n"
    check = "import importlib.metadata as m, iclglass\nassert not list(m.distributions(name='iclglass'))\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", paths + check + script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def copied(folder, *, inside=False, link=False):
    """The packages of a checkout, side by side or as they are installed; as files or as links to them."""
    for layer in LAYERS:
        target = folder / "iclglass" / layer if inside and layer != "iclglass" else folder / layer
        for file in (ROOT / layer).rglob("*.py*"):
            place = target / file.relative_to(ROOT / layer)
            place.parent.mkdir(parents=True, exist_ok=True)
            if link:
                place.symlink_to(file)
            else:
                shutil.copy(file, place)
    return folder


def git(folder, *command):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *command],
        check=True,
        capture_output=True,
    )


def test_a_checkout_links_to_it_and_an_installed_copy_are_one_program(tmp_path, dependencies):
    """None of them is installed in the sense of metadata, and all work."""
    here = json.loads(json.dumps(source.code_digests(*POINTS)))
    # Not the checkout itself, beside which an editable installation leaves metadata.
    program, revision = run_in(copied(tmp_path / "checkout", link=True), dependencies, SCRIPT + USED)
    assert program["modules"] == here
    assert program["iclglass"] == sys.modules["iclglass"].__version__
    links, installed = copied(tmp_path / "links", inside=True, link=True), copied(tmp_path / "installed", inside=True)
    assert run_in(links, dependencies) == [program, revision]
    assert run_in(installed, dependencies) == [program, None]


@pytest.mark.slow
def test_the_revision_is_that_of_the_repository_that_holds_the_module(tmp_path, dependencies):
    """However deep in it; a copy in an environment that lies in somebody's repository is not of its commits."""
    deeper = copied(tmp_path / "repository" / "one" / "level")
    git(tmp_path / "repository", "init")
    (tmp_path / "repository" / "thesis.txt").write_text("x")
    git(tmp_path / "repository", "add", "thesis.txt")
    git(tmp_path / "repository", "commit", "-m", "a thesis")
    assert run_in(deeper, dependencies)[1] is None
    git(tmp_path / "repository", "add", ".")
    git(tmp_path / "repository", "commit", "-m", "and this")
    assert re.fullmatch("[0-9a-f]{40}", run_in(deeper, dependencies)[1])


@pytest.fixture
def changed_by(tmp_path, monkeypatch):
    """Modules whose digest edits (module, old, new) change, in a copy."""
    copied(tmp_path)
    monkeypatch.setattr(source, "_home", lambda: tmp_path)
    monkeypatch.setattr(source, "_digests", source._digests.__wrapped__)
    before = source.code_digests(*POINTS)

    def changed(*edits):
        for module, old, new in edits:
            file = tmp_path / f"{module.replace('.', '/')}.py"
            text = file.read_text()
            assert old in text, module
            file.write_text(text.replace(old, new, 1))
        after = source.code_digests(*POINTS)
        return {name for name in {*before, *after} if before.get(name) != after.get(name)}

    return changed


def test_comments_documentation_and_other_modules_change_nothing(changed_by):
    assert not changed_by(
        ("validation.sweeping.roads", "from __future__", "# a comment\n\nfrom __future__"),
        ("validation.sweeping.evaluation", '"""What a road gives.', '"""What is given.'),
        ("numerics.running.run", "_STRIKES = 2", "_STRIKES = 3"),
        ("validation.samplers.sampling", "_MOST_THIN = 1000\n", '_MOST_THIN = 1000\n"""A sentence."""\n'),
        ("numerics.saddle_point", "import numpy as np\n", "import numpy as np\n\n\n"),
        ("validation.agreement", "POWER = 0.9", "POWER = 0.8"),
        ("validation.suite.result", "FALSE_ALARM = 0.01", "FALSE_ALARM = 0.02"),
        ("numerics.plotting.axes", "import numpy as np\n", "import numpy as np\n_X = 1\n"),
        ("numerics.state_evolution", "import numpy as np\n", "import numpy as np\n_X = 1\n"),
    )


def test_a_changed_number_is_another_program_and_names_its_module(changed_by):
    edits = (
        ("validation.samplers.sampling", "_MOST_THIN = 1000", "_MOST_THIN = 1001"),
        ("numerics.instance.exact", "import numpy as np\n", "import numpy as np\n_X = 1\n"),  # imported in a function
        ("validation.training.torch_backend", "__all__ = [", "_X = True\n__all__ = ["),
        ("numerics.generated_numpy", "return", "return 2 *"),
        ("validation.experiment", 'f"D={sizes.dimension} ', 'f"d={sizes.dimension} '),
    )
    assert changed_by(*edits) == {f"iclglass.{module}" for module, _, _ in edits}


def test_what_is_left_out_exists_and_computes_nothing_that_is_imported_for_its_numbers():
    everything = {*source.code_digests(), *source._SHOWS_OR_KEEPS}
    assert all(source._file(name) is not None for name in source._SHOWS_OR_KEEPS)
    assert everything == set(source._all_modules())
    assert {f"iclglass.{name}" for name in ("numerics.pool", "numerics.instance.gamp")} <= {
        *source.code_digests(*POINTS)
    }


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("x = 1", "x = 1.0", False),
        ("x = 1", "x = True", False),
        ("x = None", "x = ...", False),
        ("def f(a=None): pass", "def f(a): pass", False),
        ("x = {1: 2, **y}", "x = {1: 2, None: y}", False),
        ("x = 'a'", "x = 'b'", False),
        ("x = f'a'; 'text'", "x = f'b'", False),
        ("x = 'a'", "x =  'a'  # why", True),
        ("def f():\n    'says'\n    return 1", "def f():\n    'says more'\n    return 1", True),
    ],
)
def test_code_is_told_from_other_code(one, two, same):
    assert (repr(source._plain(ast.parse(one))) == repr(source._plain(ast.parse(two)))) is same
