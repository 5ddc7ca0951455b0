"""Installed, iclglass is one import name: a user's files of the same names as ours neither break it nor are run by it.

Types reach the user's own checker. Both are tried on the wheel and on the README's editable install, in an environment
of its own, outside the checkout.
"""

import importlib.metadata
import json
import os
import re
import site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.iclglass.conftest import ROOT, builds_here, copy_of_sources

LAYERS = ("replica", "numerics", "validation")
OURS = {path.stem for layer in (*LAYERS, "iclglass") for path in (ROOT / layer).rglob("*.py")} - {
    "__init__",
    "__main__",
}
OTHERS = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
STOLEN = sorted({*LAYERS, "tests", "benchmarks", "examples", *(OURS - OTHERS)})

E_ICL = 9 / 22  # tau 3, alpha 5, ridge 1
SOLVE = ("solve", "--tau", "3", "--alpha", "5", "--lam", "1", "--json")
SWEEP = ("sweep", "--simulate", "--tau=1:2:2", "--alpha=1", "--dimension=6", "--samples=2", "--workers=2")
CODE = """
import iclglass
print(float(iclglass.solve(task_diversity=3, context_length=5, ridge=1).e_icl))
"""
EVERYTHING = """
import importlib, pkgutil, sys
import iclglass
for module in pkgutil.walk_packages(iclglass.__path__, "iclglass."):
    if not module.name.endswith(("__main__", "torch_backend", "architectures")):
        importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("iclglass.")]))
"""
SPAWNED = """
import iclglass
if __name__ == "__main__":
    found = iclglass.sweep_simulated(task_diversity=[1, 2], context_length=1, dimension=6, samples=2, workers=2)
    print(int((found.status == 0).sum()))
"""
STRANGER = """
import iclglass
from iclglass.numerics.solution import OBSERVABLES

solution = iclglass.solve(task_diversity=[0.5, 1, 2], context_length=1.0, ridge=0.1)
reveal_type(solution)
reveal_type(solution.e_icl)
reveal_type(iclglass.sweep(task_diversity=[1.0], context_length=1.0))
reveal_type(iclglass.validate(task_diversity=2, context_length=1).sentence)
reveal_type(iclglass.derive)
reveal_type(OBSERVABLES)
"""
FLOATS = "an array of doubles, as this NumPy writes it"
REVEALED = [
    "iclglass.numerics.solution.Solution",
    FLOATS,
    "xarray.core.dataset.Dataset",
    "str",
    "def (model: iclglass.replica.model.Model | None =) -> iclglass.replica.derivation.Derivation",
    "dict[str, str]",
]


@pytest.fixture
def stolen(tmp_path):
    """A folder with a file of every name of ours, each of which says that it ran."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in STOLEN:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')\nraise ImportError('{name} of the user ran')\n"
        )
    yield folder
    executed = tmp_path / "executed"
    assert not executed.exists(), executed.read_text()


@pytest.fixture(scope="session", params=["wheel", "editable"])
def installed(request, tmp_path_factory):
    """The folder of commands of an environment with iclglass installed, and all else seen from the present one."""
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=120)
    python = folder / "venv/bin/python"
    where = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).stdout.strip()
    seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (Path(where) / "present.pth").write_text("\n".join(dict.fromkeys([*site.getsitepackages(), *seen])) + "\n")
    if request.param == "wheel":
        what = [request.getfixturevalue("wheel")]
    else:
        what = [*(["--no-build-isolation"] if builds_here() else []), "-e", copy_of_sources(folder / "clone")]
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", *what])
    return python.parent


def run(command, **options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= options.pop("env", {})
    given = {"capture_output": True, "text": True, "timeout": 300, "check": False, "env": environment} | options
    done = subprocess.run([str(part) for part in command], **given)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


def test_names_worth_stealing_are_stolen():
    assert {"numerics", "replica", "validation", "tests", "storage", "model", "symbols", "sizes"} <= set(STOLEN)


@pytest.mark.parametrize("how", [("-c", CODE), ("-m", "iclglass", *SOLVE)], ids=["code", "command"])
def test_a_checkout_without_installation_runs_no_file_of_the_user(stolen, how):
    done = run([sys.executable, *how], cwd=stolen, env={"PYTHONPATH": str(ROOT)})
    assert str(E_ICL)[:12] in done.stdout


@pytest.mark.slow
def test_nothing_but_iclglass_can_be_imported_from_it(installed, tmp_path):
    """Elsewhere: no layer, no test, no module of ours at the top level, wherever Python looks."""
    code = (
        "import importlib.util, json, sys, iclglass\n"
        "found = [name for name in json.loads(sys.argv[1]) if importlib.util.find_spec(name) is not None]\n"
        "print(json.dumps([found, iclglass.__file__]))"
    )
    found, file = json.loads(run([installed / "python", "-c", code, json.dumps(STOLEN)], cwd=tmp_path).stdout)
    assert found == []
    assert not Path(file).is_relative_to(ROOT)


@pytest.mark.slow
def test_scripts_and_commands_run_no_file_of_the_user(installed, stolen):
    script = stolen / "my_script.py"
    for code, expected in ((CODE, E_ICL), (SPAWNED, 2)):
        script.write_text(code)
        for start in ([script], ["-c", code]):
            assert float(run([installed / "python", *start], cwd=stolen).stdout) == pytest.approx(expected, rel=1e-12)
    script.write_text(EVERYTHING)
    assert int(run([installed / "python", script], cwd=stolen).stdout) > len(OURS)
    for command in ([installed / "python", "-m", "iclglass"], [installed / "iclglass"]):
        record = json.loads(run([*command, *SOLVE], cwd=stolen).stdout)
        assert record["e_icl"] == pytest.approx(E_ICL, rel=1e-12)
        out = run([*command, *SWEEP, "--out", "found.nc", "--force"], cwd=stolen)
        assert (stolen / "found.nc").exists(), out.stderr


@pytest.mark.slow
def test_a_notebook_runs_no_file_of_the_user(installed, stolen, tmp_path, monkeypatch):
    """The kernel imports from the notebook's folder before all that is installed."""
    pytest.importorskip("ipykernel")
    manager_of = pytest.importorskip("jupyter_client").KernelManager
    folders = {"JUPYTER_PATH": "share", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    for name, folder in folders.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    spec = tmp_path / "share/kernels/installed/kernel.json"
    spec.parent.mkdir(parents=True)
    start = [str(installed / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": start, "display_name": "installed", "language": "python"}))
    manager = manager_of(kernel_name="installed")
    manager.start_kernel(cwd=str(stolen))
    client = manager.client()
    said = []

    def hear(message):
        said.append(message["content"].get("text") or "\n".join(message["content"].get("traceback", [])))

    try:
        client.start_channels()
        client.wait_for_ready(timeout=120)
        first = "import sys; print(any('site-packages' in path for path in sys.path[: sys.path.index('')]))"
        for cell in (first, CODE, SPAWNED):
            reply = client.execute_interactive(cell, output_hook=hear, timeout=300)
            assert reply["content"]["status"] == "ok", said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    words = "".join(said).split()
    assert [words[0], float(words[1]), words[2]] == ["False", pytest.approx(E_ICL), "2"]


@pytest.mark.slow
def test_types_reach_a_stranger(installed, tmp_path):
    """PEP 561: iclglass/py.typed alone marks the packages inside it, too."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    checker = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed / "python"]
    done = run([*checker, "--cache-dir", tmp_path / "cache", "stranger.py"], cwd=tmp_path, env={"COLUMNS": "400"})
    assert "Success: no issues found" in done.stdout
    revealed = [line.split('"')[1] for line in done.stdout.splitlines() if "Revealed type" in line]
    assert re.fullmatch(r"numpy\.ndarray\[.*(float64|_64Bit).*\]", revealed[REVEALED.index(FLOATS)])
    assert [text for text in revealed if not text.startswith("numpy")] == [text for text in REVEALED if text != FLOATS]
    marks = run([installed / "python", "-c", "import iclglass; print(*iclglass.__path__)"], cwd=tmp_path).stdout.strip()
    assert [path.parent.name for path in Path(marks).rglob("py.typed")] == ["iclglass"]
