"""Text, LaTeX and the generated notes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sympy as sp

from iclglass.numerics import generated_numpy
from iclglass.replica import render
from iclglass.replica import symbols as S
from iclglass.replica.render import derivation_markdown, equation_latex, notation_markdown, to_latex, to_text

NOTES = Path(__file__).resolve().parents[2] / "notes"
SAME_SYMPY = pytest.mark.skipif(
    sp.__version__ != generated_numpy.SYMPY_VERSION,
    reason=f"generated with SymPy {generated_numpy.SYMPY_VERSION}; another prints terms in another order",
)


def test_text_has_every_stage(derivation):
    text = to_text(derivation.stages)
    for stage in derivation.stages:
        assert f"[{stage.name}]" in text
        assert stage.title in text
    assert text.count("\n== ") == len(derivation.stages) - 1
    one = to_text((derivation.stage("saddle-point"),))
    assert "[saddle-point]" in one
    assert "[model]" not in one
    assert "─" in one  # a fraction, in two dimensions


def test_latex_has_every_equation(derivation):
    source = to_latex(derivation.stages)
    assert source.count(r"\section{") == len(derivation.stages)
    assert source.count(r"\[") == source.count(r"\]") == sum(len(stage.equations) for stage in derivation.stages)
    assert source.count("{") - source.count(r"\{") == source.count("}") - source.count(r"\}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(derivation, tmp_path):
    source = tmp_path / "derivation.tex"
    source.write_text(to_latex(derivation.stages), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / "derivation.pdf").stat().st_size > 10_000
    log = (tmp_path / "derivation.log").read_text(encoding="latin-1")
    assert "Missing character" not in log
    assert "undefined" not in log.lower()


@SAME_SYMPY
def test_derivation_page_is_fresh(derivation):
    page = (NOTES / "derivation.md").read_text(encoding="utf-8")
    assert page == derivation_markdown(derivation), "run `python -m iclglass.replica.render notes`"


@SAME_SYMPY
def test_notation_page_is_fresh():
    page = (NOTES / "notation.md").read_text(encoding="utf-8")
    assert page == notation_markdown(), "run `python -m iclglass.replica.render notes`"


def test_main_writes_both_pages(derivation, tmp_path):
    render.main(str(tmp_path))
    assert (tmp_path / "derivation.md").read_text(encoding="utf-8") == derivation_markdown(derivation)
    assert (tmp_path / "notation.md").read_text(encoding="utf-8") == notation_markdown()


def test_table_of_notation():
    names = [str(entry.symbol) for entry in S.NOTATION]
    assert len(set(names)) == len(names)
    latex = [entry.latex for entry in S.NOTATION]
    assert all(latex)
    assert len(set(latex)) == len(latex)
    for entry in S.NOTATION:
        assert entry.meaning
        assert entry.values
        assert entry.group
        assert S.LATEX[entry.symbol] == entry.latex
    public = [value for name, value in vars(S).items() if isinstance(value, (sp.Symbol, sp.IndexedBase))]
    assert set(public) == {entry.symbol for entry in S.NOTATION}


def test_notation_page_has_every_symbol():
    page = notation_markdown()
    for entry in S.NOTATION:
        assert f"| ${entry.latex}$ | `{entry.symbol}` |" in page
    for line in page.splitlines():
        if line.startswith("| $"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5


def test_symbols_are_typeset_as_in_the_table(derivation):
    assert equation_latex(sp.Eq(S.e_icl, S.lam * S.tau, evaluate=False)) == r"e_{\mathrm{ICL}} = \lambda \tau"
    page = derivation_markdown(derivation)
    blocks = re.findall(r"```math\n(.*)\n```", page)
    assert len(blocks) == sum(len(stage.equations) for stage in derivation.stages)
    for block in blocks:
        assert "Piecewise" not in block
        assert block.count("{") - block.count(r"\{") == block.count("}") - block.count(r"\}")
        assert not re.search(r"\\mathtt|_\d{3,}|Dummy", block)
        # Every longer word is a command, a typeset name, or inside \mathrm{...} / \text{...}.
        bare = re.sub(r"\\(mathrm|text|operatorname|begin|end)\{(?:[^{}]|\{[^{}]*\})*\}", "", block)
        bare = re.sub(r"\\[A-Za-z]+", "", bare)
        assert not re.search(r"[A-Za-z]{4,}", bare), bare
