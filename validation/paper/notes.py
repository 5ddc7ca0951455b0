"""The account of a reproduction as Markdown: what was run, what agrees, what does not, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping

from iclglass.validation.paper.catalogue import get
from iclglass.validation.paper.figure import Verdict
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, percent

__all__ = ["to_markdown"]

_MARK = {True: "agrees with our theory", False: "**disagrees with our theory**", None: "**inconclusive**"}
_MOST_ROWS = 40


def to_markdown(
    verdicts: Mapping[str, Verdict],
    *,
    scale: str,
    seed: int,
    published: bool,
    skipped: Mapping[str, str] | None = None,
) -> str:
    """One section a figure: parameters, verdict, numbers, remarks.

    published: whether a copy of the authors' data was compared with. skipped: why, by figure.
    """
    share = max((verdict.largest_unseen_bias for verdict in verdicts.values()), default=LARGEST_UNSEEN_BIAS)
    data = "a copy of the authors' data beside it" if published else "without the authors' data"
    lines = [
        "# The paper, figure by figure",
        "",
        f"Written by `iclglass reproduce all --scale {scale} --seed {seed}`, {data}.",
        "Li, Bai and Huang, arXiv:2408.02288. A figure *agrees* when our simulation agrees with our own theory and",
        f"would have shown a bias of {percent(share)} nine times in ten; where the published data differ from both,",
        "the numbers are below. z is a deviation in standard errors.",
        "",
        "| figure | what it shows | verdict |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {name} | {get(name).title} | {_MARK[verdict.agrees]} |" for name, verdict in verdicts.items()]
    lines += [f"| {name} | {get(name).title} | skipped: {reason} |" for name, reason in (skipped or {}).items()]
    for name, verdict in verdicts.items():
        lines += ["", f"## {name}: {get(name).title}", "", _parameters(get(name).parameters(scale)), ""]
        lines += [verdict.sentence[:1].upper() + verdict.sentence[1:] + "."]
        lines += _rows(verdict)
        if verdict.remarks:
            lines += ["", *(f"- {remark}" for remark in verdict.remarks if "is missing" not in remark)]
    return "\n".join(lines) + "\n"


def _parameters(given: Mapping[str, object]) -> str:
    return "Parameters: " + ", ".join(f"{name} {_value(value)}" for name, value in given.items()) + "."


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 6:
        return f"{value[0]} .. {value[-1]} ({len(value)} values)"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _rows(verdict: Verdict) -> list[str]:
    if not verdict.rows:
        return []
    shown = sorted(verdict.rows, key=lambda row: -abs(row[4]) if math.isfinite(row[4]) else 0.0)[:_MOST_ROWS]
    chosen = [row for row in verdict.rows if row in shown]
    head = ["", "| compared | ours | reference | standard error | z |", "| --- | --- | --- | --- | --- |"]
    body = [
        f"| {what} | {ours:.5g} | {reference:.5g} | {error:.2g} | {f'{z:+.1f}' if math.isfinite(z) else '-'} |"
        for what, ours, reference, error, z in chosen
    ]
    more = len(verdict.rows) - len(chosen)
    return [*head, *body] + ([f"\n({more} more, of smaller |z|.)"] if more else [])
