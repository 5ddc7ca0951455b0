"""``iclglass validate --suite``: the pre-registered validation, its verdict and its page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iclglass.cli.options import engine, given
from iclglass.cli.output import judged, made, print_json, say, to_json
from iclglass.cli.progress import bar
from iclglass.numerics.errors import ParameterError

__all__ = ["run_suite_command"]

_TAKEN = ("suite", "seed", "largest_unseen_bias", "workers", "dask", "mpi", "out", "force", "resume_anyway", "json")


def run_suite_command(values: Mapping[str, Any]) -> int:
    """Run or resume the suite; writes suite.json and validation.html beside the finished samples."""
    from iclglass.numerics.storage import check_writable, replacing
    from iclglass.validation.suite.page import SAID, write_suite_page
    from iclglass.validation.suite.suite import SAMPLES, run_suite
    from iclglass.validation.verdict import word

    if other := given(*(name for name in values if name not in _TAKEN)):
        raise ParameterError(f"--suite fixes points, sizes and samples beforehand: leave out {', '.join(other)}")
    folder = Path(values["out"])
    record, page = folder / "suite.json", folder / "validation.html"
    # Results follow from the samples beside them; without samples they are someone else's.
    force = values["force"] or (folder / SAMPLES).exists()
    for path in (record, page):
        if path.exists():
            check_writable(path, force=force)
    with made(folder), bar("simulating") as advance:
        result = run_suite(
            values["suite"],
            seed=values["seed"],
            largest_unseen_bias=values["largest_unseen_bias"],
            folder=folder,
            **engine(values),
            progress=advance,
            say=say,
            fresh=values["force"],
            resume_anyway=values["resume_anyway"],
        )
    with replacing(record, force=True) as temporary:
        temporary.write_text(to_json(result.to_dict()) + "\n", encoding="utf-8")
    write_suite_page(result, page, force=True)
    if values["json"]:
        print_json(result.to_dict())
    else:
        for check in result.checks:
            print(f"{SAID[check.passed]}  {check.name}\n      {check.found}; wanted {check.wanted}")
        print(f"\n{word(result.passed)}: {result.sentence}\nopen {page}")
    return judged(result.passed)
