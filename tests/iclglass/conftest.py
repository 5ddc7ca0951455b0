"""What tests of the command line and of the package as installed share."""

import importlib.metadata
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from iclglass.cli import main

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "tests", "iclglass", "replica", "numerics", "validation")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run in this process, in an empty folder: (exit code, stdout, stderr). No colour and no traceback, ever.

    The command line is one text, or its words.
    """
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = main(shlex.split(arguments[0]) if len(arguments) == 1 else arguments)
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "Traceback" not in err, err
        return code, out, err

    return command


def refused(run, line, code, *messages):
    """The command line ends with the code and one line on stderr that holds the messages; it writes nothing."""
    before = sorted(str(path) for path in Path().rglob("*"))
    found, out, err = run(line)
    assert (found, out) == (code, ""), (found, out, err)
    assert err.startswith("iclglass: error: ")
    assert err.count("\n") == 1
    for message in messages:
        assert message in err
    assert sorted(str(path) for path in Path().rglob("*")) == before


def process(*words, **options):
    """A process of this Python with its output; what it is given is looked at nowhere else."""
    given = {"capture_output": True, "text": True, "timeout": 300, "check": False} | options
    return subprocess.run([sys.executable, *map(str, words)], **given)


def copy_of_sources(folder):
    """A copy to build in: a build writes build/ and *.egg-info beside the sources."""
    folder.mkdir()
    found = [str(ROOT / path) for path in SOURCES if (ROOT / path).exists()]
    subprocess.run(["cp", "-r", *found, str(folder)], check=True, capture_output=True)
    return folder


def builds_here():
    """Whether the installed setuptools is new enough for pyproject.toml: else a build needs a network."""
    try:
        return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built once. Without a network if it can be, else in an isolated environment."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_of_sources(folder / "source")
    isolation = ["--no-isolation"] if builds_here() else []
    done = process("-m", "build", "--wheel", *isolation, "--outdir", folder / "dist", source)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (built,) = (folder / "dist").iterdir()
    return built
