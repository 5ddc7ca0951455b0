"""The wheel: one import name, typed, with its command, importable away from the sources."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import iclglass

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
    assert "iclglass/py.typed" in names


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
    assert "License-Expression: BSD-3-Clause" in text
    assert "Classifier: Private :: Do Not Upload" in text
    assert "Classifier: Typing :: Typed" in text
    required = [
        line.removeprefix("Requires-Dist: ") for line in text.splitlines() if line.startswith("Requires-Dist: ")
    ]
    for package in ("numpy", "scipy", "sympy", "mpmath", "matplotlib", "xarray", "h5netcdf", "rich", "psutil"):
        assert any(line.startswith(package) for line in required), package
    # No upper caps: they break installs of users who cannot know why.
    assert not [line for line in required if "<" in line.split(";")[0] or "==" in line.split(";")[0]]


def test_it_works_from_a_foreign_directory_without_the_sources(wheel, tmp_path):
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            str(target),
            str(wheel),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    code = (
        "import pathlib, sys\n"
        "import iclglass, iclglass.replica, iclglass.numerics, iclglass.validation\n"
        "for package in (iclglass, iclglass.replica, iclglass.numerics, iclglass.validation):\n"
        "    assert pathlib.Path(package.__file__).is_relative_to(sys.argv[1]), package.__file__\n"
        "print(float(iclglass.solve(task_diversity=3, context_length=5, ridge=1).e_icl))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    options = {
        "cwd": elsewhere,
        "env": environment,
        "capture_output": True,
        "text": True,
        "timeout": 60,
        "check": False,
    }
    done = subprocess.run([sys.executable, "-c", code, str(target)], **options)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(9 / 22, rel=1e-14)
    done = subprocess.run([sys.executable, "-m", "iclglass", "--version"], **options)
    assert done.stdout == f"iclglass {iclglass.__version__}\n"
    script = target / "bin" / "iclglass"
    assert script.exists()
    done = subprocess.run([sys.executable, str(script), "solve", "--tau", "3", "--alpha", "5"], **options)
    assert done.returncode == 0, done.stderr
    assert "converged" in done.stdout
