"""The wheel: one import name, typed, with its command, importable away from the sources."""

import os
import zipfile
from pathlib import Path

import pytest

import iclglass
from tests.iclglass.conftest import process

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("iclglass", "replica", "numerics", "validation")


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_is_pure_and_has_the_version(wheel):
    assert wheel.name == f"iclglass-{iclglass.__version__}-py3-none-any.whl"


def test_the_wheel_holds_one_import_name(names):
    information = f"iclglass-{iclglass.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"iclglass", information}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_and_the_type_marker_are_in_it(names, package):
    home = "iclglass" if package == "iclglass" else f"iclglass/{package}"
    sources = {f"{home}/{path.relative_to(ROOT / package).as_posix()}" for path in (ROOT / package).rglob("*.py")}
    others = tuple(f"iclglass/{layer}/" for layer in PACKAGES) if package == "iclglass" else ()
    found = {name for name in names if name.startswith(f"{home}/") and name.endswith(".py")}
    assert {name for name in found if not name.startswith(others)} == sources
    assert {"iclglass/py.typed", "iclglass/__init__.pyi"} <= set(names)


def test_no_tests_notes_or_caches_are_in_it(names):
    assert not [
        name for name in names if "test" in name.split("/")[0] or "__pycache__" in name or name.endswith(".pyc")
    ]


def test_the_metadata_say_who_what_and_with_what(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        text = archive.read(metadata).decode()
        (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "iclglass = iclglass.cli:main" in archive.read(entry).decode()
        assert [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    for line in ("License-Expression: BSD-3-Clause", "Classifier: Private :: Do Not Upload"):
        assert line in text
    assert "Classifier: Typing :: Typed" in text
    required = [line.removeprefix("Requires-Dist: ") for line in text.splitlines() if line.startswith("Requires-Dist")]
    for package in [
        "click",
        "lazy_loader",
        "numpy",
        "scipy",
        "sympy",
        "mpmath",
        "matplotlib",
        "xarray",
        "h5netcdf",
        "rich",
        "psutil",
    ]:
        assert any(line.startswith(package) for line in required), package
    # No upper caps: they break installs of users who cannot know why.
    assert not [line for line in required if "<" in line.split(";")[0] or "==" in line.split(";")[0]]


def test_it_works_from_a_foreign_directory_without_the_sources(wheel, tmp_path):
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert (
        process("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel).returncode == 0
    )
    code = (
        "import pathlib, sys\n"
        "import iclglass, iclglass.replica, iclglass.numerics, iclglass.validation\n"
        "for package in (iclglass, iclglass.replica, iclglass.numerics, iclglass.validation):\n"
        "    assert pathlib.Path(package.__file__).is_relative_to(sys.argv[1]), package.__file__\n"
        "print(float(iclglass.solve(task_diversity=3, context_length=5, ridge=1).e_icl))\n"
    )
    there = {"cwd": elsewhere, "env": {**os.environ, "PYTHONPATH": str(target)}}
    done = process("-c", code, target, **there)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(9 / 22, rel=1e-14)
    assert process("-m", "iclglass", "--version", **there).stdout == f"iclglass {iclglass.__version__}\n"
    done = process(target / "bin" / "iclglass", "solve", "--tau", "3", "--alpha", "5", **there)
    assert done.returncode == 0, done.stderr
    assert "converged" in done.stdout
