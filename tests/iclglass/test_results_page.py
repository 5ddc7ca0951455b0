"""The page on loading results: its code runs, in order, and its tables name what there is."""

import os
import re
from pathlib import Path

import pytest

from iclglass.numerics.fixed_point import Status
from tests.iclglass.conftest import process

PAGE = Path(__file__).resolve().parents[2] / "notes" / "results.md"


@pytest.mark.slow
def test_the_code_of_the_page_runs_without_a_warning(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    code = "\n".join(blocks)
    done = process("-W", "error", "-c", code, cwd=tmp_path, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.png").stat().st_size > 1000
    lines = (tmp_path / "simulated.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("task_diversity,context_length,e_icl,e_icl_standard_error,e_icl_theory,status,")
    assert len(lines) == 1 + 5 * 2


def test_the_table_of_statuses_is_complete():
    rows = re.findall(r"^\| (\d) \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert rows == [(str(status.value), status.name.lower()) for status in Status]
