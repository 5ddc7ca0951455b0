"""The tables of notes/scaling.md that are computed from its formulas."""

import math
import re
from pathlib import Path

import pytest

NOTE = (Path(__file__).resolve().parents[1] / "notes" / "scaling.md").read_text(encoding="utf-8")
WORKERS = (1, 10, 100, 1000)
TWO_DIGITS = 0.05


def table(header):
    """Rows of cells of the table whose header begins so."""
    lines = NOTE[NOTE.index(header) :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace(" ", "") for cell in line.strip("|").split("|")])
    return rows


def seconds_a_step(dimension, workers, own):
    """P/w (33 ns D + 77 ps D^2) + 16 D^2 T/B + K."""
    prompts = 2 * dimension**2
    tasks = min(max(64, 2 * workers), math.ceil(prompts / 1024))
    traffic = 16 * dimension**2 * tasks / 1.1e9
    return prompts / workers * (33e-9 * dimension + 77e-12 * dimension**2) + traffic + own


def test_seconds_a_step_of_a_distributed_solve():
    own = {int(row[0]): float(re.match(r"[\d.]+", row[7])[0]) * 1e-3 for row in table("| $D$ | draw a block |")}
    rows = table("| $D$ | $P$ | blocks | 1 worker |")
    assert len(rows) == 4
    for dimension, prompts, blocks, *cells in rows:
        size, count = int(dimension), int(blocks)
        assert int(prompts) == 2 * size**2
        assert count == math.ceil(2 * size**2 / 1024)
        for workers, cell in zip(WORKERS, cells[:4], strict=True):
            assert (cell == "-") == (workers > count)
            if cell != "-":
                assert float(cell) == pytest.approx(seconds_a_step(size, workers, own[size]), rel=TWO_DIGITS)
        best = min(range(1, count + 1), key=lambda workers: seconds_a_step(size, workers, own[size]))
        assert (int(cells[4]), float(cells[5])) == (
            best,
            pytest.approx(seconds_a_step(size, best, own[size]), rel=TWO_DIGITS),
        )


def test_workers_of_use_and_points_of_a_sweep():
    """w_max = c/o with 0.17 ms on processes and 2.8 ms on Dask."""
    units = {"ms": 1e-3, "s": 1.0, "min": 60.0}
    rows = table("| $D$, road | $c$ |")
    assert len(rows) == 6
    for _, cost, processes, dask, _ in rows:
        number, unit = re.fullmatch(r"([\d.]+)(ms|s|min)", cost).groups()
        seconds = float(number) * units[unit]
        assert float(dask) == pytest.approx(seconds / 2.8e-3, rel=TWO_DIGITS)
        if processes:
            assert float(processes) == pytest.approx(seconds / 0.17e-3, rel=TWO_DIGITS)
