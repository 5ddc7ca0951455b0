"""iclglass demo: one command, under a minute, everything in one folder, a report that opens offline."""

import json
import os
import re
import shutil
import sqlite3
import time
from contextlib import closing
from html.parser import HTMLParser

import numpy as np
import pytest

from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE, load
from tests.iclglass.conftest import process

pytestmark = pytest.mark.slow

PICTURES = ["extrapolation.png", "glass.png", "phase-diagram.png", "sweep.png"]
FILES = sorted(
    [*PICTURES, *["derivation.tex", "glass.nc", "phase-diagram.nc", "report.html", "samples.checkpoint", "sweep.nc"]]
)
FILES += ["validation.json", "validation.txt"]


def run(folder, *arguments):
    before, started = os.times(), time.perf_counter()
    done = process("-W", "error", "-m", "iclglass", "demo", "--out", folder, *arguments)
    after, elapsed = os.times(), time.perf_counter() - started
    used = after.children_user + after.children_system - before.children_user - before.children_system
    # Processor time, which a busy machine does not stretch; the demo hardly ever waits.
    return done, min(elapsed, used)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, run once: (folder, process, seconds)."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, *run(folder)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.attributes, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_it_passes_in_less_than_a_minute_without_a_warning(demo):
    _, done, seconds = demo
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert seconds < 60


def test_every_file_is_there_and_nothing_else(demo):
    folder, done, _ = demo
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for name in FILES:
        assert (folder / name).stat().st_size > 500, name
    for name in ("report.html", "sweep.nc", "phase-diagram.nc", "derivation.tex"):
        assert name in done.stdout + done.stderr


def test_the_stages_are_announced_on_stderr_in_order(demo):
    _, done, _ = demo
    stages = [
        "deriving",
        "solving across task diversity",
        "mapping the phase diagram",
        "binary weights",
        "finite-size Monte Carlo",
    ]
    places = [done.stderr.index(stage) for stage in stages]
    assert places == sorted(places)
    assert "PASS: Theory and simulation agree" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_the_datasets_open_and_say_where_they_come_from(demo):
    folder, _, _ = demo
    curves, diagram = load(folder / "sweep.nc"), load(folder / "phase-diagram.nc")
    assert set(curves.sizes) == {"task_diversity", "ridge"}
    assert bool(np.isfinite(curves.e_icl).all())
    assert {"interpolation-threshold", "contrast=0.8", "minimum=tau", "peak=tau"} == set(diagram.line_name.values)
    glass = load(folder / "glass.nc")
    for dataset in (curves, diagram, glass):
        assert "versions" in json.loads(dataset.attrs[PROVENANCE])


def test_the_verdict_is_that_of_the_written_table(demo):
    folder, done, _ = demo
    record = json.loads((folder / "validation.json").read_text())
    assert record["passed"] is True
    assert record["sentence"] in done.stdout
    assert len(record["dimensions"]) >= 4


def test_the_report_is_self_contained_and_has_everything(demo):
    folder, _, _ = demo
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    sources = [attributes["src"] for tag, attributes in page.attributes if tag == "img"]
    assert sum(source.startswith("data:image/png;base64,") for source in sources) == len(PICTURES)
    assert sum(source.startswith("data:image/svg+xml;base64,") for source in sources) >= 4
    assert all(source.startswith("data:") for source in sources)
    assert not [tag for tag, _ in page.attributes if tag in ("script", "link", "iframe")]
    assert not re.search(r"(src|href)=\"?https?:", text)
    for heading in ("Derived", "Solved across task diversity", "Phase diagram", "finite-size Monte Carlo", "Made with"):
        assert heading in page.text
    assert "PASS." in page.text
    record = json.loads((folder / "validation.json").read_text())
    for row in record["rows"]:
        assert row["quantity"] in page.text
        assert f"{row['z']:+.2f}" in page.text
    assert 'name="viewport"' in text
    assert all(attributes.get("alt") for tag, attributes in page.attributes if tag == "img")


def test_the_report_says_where_the_glass_is_unstable(demo):
    folder, _, _ = demo
    glass = load(folder / "glass.nc")
    unstable = int((glass.status == Status.RS_UNSTABLE).sum())
    highest = int(np.argmax(glass.line_y.values))
    assert 0 < unstable < glass.status.size
    place = f"T = {float(glass.line_y[highest]):.2f}, tau = {float(glass.line_x[highest]):.1f}"
    said = f"{place}. Below it, at the {unstable} of {glass.status.size} points"
    assert said in Page((folder / "report.html").read_text(encoding="utf-8")).text


def test_the_derivation_is_a_whole_latex_document(demo):
    folder, _, _ = demo
    text = (folder / "derivation.tex").read_text(encoding="utf-8")
    assert text.startswith(r"\documentclass")
    assert text.rstrip().endswith(r"\end{document}")
    for environment in ("document", "align*", "equation*"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}")


def test_a_second_run_is_refused_at_once_and_changes_nothing(demo):
    folder, _, _ = demo
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done, seconds = run(folder)
    assert done.returncode == 5
    assert "--force" in done.stderr
    assert seconds < 5
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_interrupted_demo_goes_on_with_the_same_command(demo, tmp_path):
    """Ctrl-C among the samples leaves these and what was made before them."""
    folder, _, _ = demo
    kept = [name for name in FILES if not name.startswith(("validation", "report", "extrapolation"))]
    for name in kept:
        shutil.copy(folder / name, tmp_path)
    with closing(sqlite3.connect(tmp_path / "samples.checkpoint")) as connection, connection:
        connection.execute("DELETE FROM row WHERE key LIKE 'D=48 %'")
    (tmp_path / "derivation.tex").write_text("cut off")
    done, _ = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    for name in ("derivation.tex", "validation.txt"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
