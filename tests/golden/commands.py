"""What every command prints as JSON, in a folder of its own and a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import iclglass

__all__ = ["COMMANDS", "QUICK", "derivation", "run"]

_POINT = "--tau 2 --alpha 1 --lam 0.1"
_DRAWN = "--dimension 5 --context 10 --prompts 150 --rho 0.1 --seed 3 --ridge0 0.02"

QUICK = {
    "solve": f"solve {_POINT} --json",
    "solve with a pool": "solve --tau 2 --alpha 4 --kappa 0.7 --rho 0.1 --temperature 0.2 --json",
    "solve at dimension 10": f"solve {_POINT} --dimension 10 --norm N+1 --json",
    "solve to 40 digits": "solve --tau 3 --alpha 5 --lam 1 --digits 40 --json",
    "instance by gamp": f"instance {_DRAWN} --beta 100 --json",
    "train": f"train {_DRAWN} --steps 40 --learning-rate 0.1 --out run.npz --json",
}
"""Commands of a fraction of a second."""

_SIMULATE = "sweep --simulate --tau 0.5:2:2 --alpha 2 --dimension 6 --samples 3 --seed 4 --out out.nc --json"

COMMANDS = QUICK | {
    "instance by exact": f"instance {_DRAWN} --beta 100 --method exact --json",
    "instance by tap": f"instance {_DRAWN} --prompts 1500 --beta 100 --method tap --json",
    "instance by published": f"instance {_DRAWN} --prompts 1500 --ridge0 0.1 --beta 100 --method published "
    "--max-iterations 2000 --json",
    "instance in blocks": f"instance --blocks {_DRAWN} --beta 100 --json",
    **{
        f"sample by {method}": f"sample {_DRAWN} --beta 50 --method {method} --draws 40 --chains 2 --json"
        for method in ("exact", "heat-bath", "langevin", "mala", "hmc")
    },
    "train separately by adam": f"train {_DRAWN} --parametrisation separate --optimiser adam --batch 30 --steps 40 "
    "--learning-rate 0.02 --json",
    "train by sgd": f"train {_DRAWN} --optimiser sgd --batch 30 --steps 40 --learning-rate 0.05 --json",
    "sweep": "sweep --tau 0.5:2:3 --alpha 0.5:4:2:log --lam 0.1 --out out.nc --json",
    "sweep --simulate": _SIMULATE,
    "sweep --simulate message-passing": _SIMULATE.replace("--simulate", "--simulate message-passing"),
    "sweep --simulate training": _SIMULATE.replace("--simulate", "--simulate training --steps 60 --learning-rate 0.1"),
    "sweep --simulate sampling": _SIMULATE.replace("--simulate", "--simulate sampling --draws 20 --temperature 0.1"),
    "validate": "validate --tau 2 --alpha 1 --dimension 6,8,10 --samples 4 --seed 2 --json",
    "validate with a pool": "validate --tau 3 --alpha 2 --kappa 1.5 --rho 0.1 --dimension 6,8 --samples 4 --json",
    "reproduce fig-S2": "reproduce fig-S2 --out figures --json",
}
"""Name -> command line. phase-diagram and demo print no JSON; the lines are in `tests.golden.theory`."""


def _iclglass(line: str) -> tuple[int, str]:
    """Exit code and standard output of the command, by the program that this process has imported."""
    program = str(Path(iclglass.__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([program, os.environ.get("PYTHONPATH", "")])}
    environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "iclglass", *line.split()],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if done.returncode in (1, 2, 5) or not done.stdout:
        raise AssertionError(f"iclglass {line}\nended with exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.returncode, done.stdout


def run(name: str) -> dict[str, Any]:
    """One command of `COMMANDS`: {"exit_code": ..., "json": ...}."""
    code, text = _iclglass(COMMANDS[name])
    return {"exit_code": code, "json": json.loads(text)}


def derivation() -> str:
    """The whole derivation as text."""
    return _iclglass("derive")[1]
