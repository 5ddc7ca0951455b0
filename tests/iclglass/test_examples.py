"""What the README shows works: its Python runs, its commands parse, its links and its promises hold."""

import os
import re
import shlex
from pathlib import Path

import pytest

from iclglass.cli.program import COMMANDS
from iclglass.numerics.status import Status
from tests.iclglass.conftest import process

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "notes/results.md"


def text():
    return README.read_text(encoding="utf-8")


def blocks(language, page=None):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page or text(), re.M | re.S)


def commands():
    """Every line of the README that calls iclglass, in blocks and between backticks, without redirections."""
    found = [
        line
        for language in ("console", "bash", "sh", "text", "")
        for block in blocks(language)
        for line in block.splitlines()
    ]
    found += re.findall(r"`(iclglass [^`]+)`", text())
    lines = [re.sub(r"\s+[>|].*", "", line.removeprefix("$ ").strip()) for line in found]
    return sorted({line for line in lines if re.match(r"iclglass\b", line)})


def test_there_is_a_readme_with_code_and_commands():
    assert README.is_file()
    assert blocks("python")
    assert len(commands()) >= 5
    assert any(line.startswith("iclglass demo") for line in commands())


@pytest.mark.parametrize("line", commands() if README.is_file() else ["README.md is missing"])
def test_every_command_of_the_readme_parses(line):
    """Up to the values: they are converted, so a wrong grid or a missing required option fails, too."""
    program, name, *arguments = shlex.split(line, comments=True)
    assert program == "iclglass"
    if name in ("--help", "--version"):
        return
    with COMMANDS.commands[name].make_context(name, arguments):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks("python")) if README.is_file() else 1))
def test_every_python_block_of_the_readme_runs_without_a_warning(number, tmp_path):
    done = process("-W", "error", "-c", blocks("python")[number], cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# A minute or more each, or of what another command wrote; what they do has tests of its own.
LONG = ("demo", "--suite", "reproduce all", "--status", "compare")


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [line for line in (commands() if README.is_file() else []) if not any(words in line for words in LONG)],
)
def test_every_command_of_the_readme_runs_without_a_warning(line, tmp_path):
    if "--config" in line or "..." in line:
        pytest.fail(f"{line}: not a command that can be run")
    done = process("-W", "error", "-m", *shlex.split(line, comments=True), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_link_to_a_file_leads_somewhere():
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text())
    local = [target for target in targets if not target.startswith(("http:", "https:", "mailto:"))]
    assert local
    for target in local:
        assert (ROOT / target).exists(), target


def test_every_link_within_the_page_leads_to_a_heading():
    headings = {
        re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text(), re.M)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", text()):
        assert anchor in headings, anchor


def test_every_option_named_in_the_readme_exists():
    known = {name for command in COMMANDS.commands.values() for option in command.params for name in option.opts}
    known |= {"--no-last-row", "--help", "--version"}
    shown = {
        option
        for line in [*commands(), *re.findall(r"`(--[^`]+)`", text())]
        for option in re.findall(r"--[a-z][a-z0-9-]*", line)
    }
    assert shown <= known


@pytest.mark.slow
def test_the_code_of_the_page_on_results_runs_without_a_warning(tmp_path):
    code = "\n".join(blocks("python", RESULTS.read_text(encoding="utf-8")))
    done = process("-W", "error", "-c", code, cwd=tmp_path, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.png").stat().st_size > 1000
    lines = (tmp_path / "simulated.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("task_diversity,context_length,e_icl,e_icl_standard_error,e_icl_theory,status,")
    assert len(lines) == 1 + 5 * 2


def test_the_table_of_statuses_is_complete():
    rows = re.findall(r"^\| (\d) \| (\w+) \|", RESULTS.read_text(encoding="utf-8"), re.M)
    assert rows == [(str(status.value), status.name.lower()) for status in Status]
