"""python -m tests.golden.write OUTDIR: compute the golden values with the `iclglass` at hand and write them.

See `tests.golden` for when one may.
"""

import argparse
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_limits

import iclglass
from tests.golden import commands
from tests.golden.sections import SECTIONS
from tests.golden.table import save

__all__ = ["write"]


def _provenance() -> dict[str, object]:
    """Which program, on what: its git revision, whether its sources are as committed, versions, processor."""
    home = Path(iclglass.__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=home, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", ":/replica", ":/numerics", ":/validation", ":/iclglass")
    return {
        "git_revision": git("rev-parse", "HEAD"),
        "sources_changed": bool(changed),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "scipy", "sympy", "mpmath", "xarray", "arviz-stats")},
    }


def write(folder: Path) -> None:
    """Write every section, the JSON of every command, the derivation, and where they come from."""
    folder.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(1):  # As the tests: with more threads sums are rounded otherwise.
        for name, section in SECTIONS.items():
            save(folder / f"{name}.npz", section.compute())
    found = {name: commands.run(name) for name in commands.COMMANDS}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in found.items())
    (folder / "commands.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    (folder / "derivation.txt").write_text(commands.derivation(), encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps(_provenance(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the golden values of the iclglass at hand.")
    parser.add_argument("outdir", type=Path)
    write(parser.parse_args().outdir)
    print(f"golden values of {iclglass.__file__}")
