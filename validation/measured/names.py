"""What a column of a table of measurements may be called: words and letters of the interface, and a few more."""

import difflib
from collections.abc import Iterable

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS, closest

__all__ = ["APPENDED", "COUNTS", "LAW", "MEANINGS", "meaning_of", "refuse_misspelt"]

APPENDED = (
    *("theory", "theory_error", "z", "limit", "agrees"),
    *("smallest_detectable_bias", "unseen", "left_out"),
)
"""Columns that a comparison adds; those of an earlier one are replaced."""

COUNTS = {
    "prompts": "task_diversity",
    "context": "context_length",
    "task_count": "distinct_tasks",
    "test_context": "test_context_length",
    "ridge0": "ridge",
}
"""Unscaled parameters, which need a dimension -> the scaled parameter that they give."""

LAW = ("norm", "last_feature", "last_row", "pool")
"""Which layer and which law of tasks at finite D."""

TOKENS = ("token_correlation", "correlated_query")
"""Length over which tokens are correlated along a prompt, and whether the query continues them."""

_OTHER_NAMES = {parameter.letter: name for name, parameter in PARAMETERS.items()} | {
    "D": "dimension",
    "P": "prompts",
    "N": "context",
    "K": "task_count",
    "lambda0": "ridge0",
    "observable": "quantity",
    "value": "mean",
    "std": "standard_deviation",
    "sem": "standard_error",
    "samples": "runs",
}

_MEASURED = ("quantity", "mean", "standard_error", "standard_deviation", "runs")
MEANINGS = (*PARAMETERS, *STRENGTHS, "dimension", *COUNTS, *WORDS, *LAW, *TOKENS, *_MEASURED)
"""Everything that a column can say."""

_ALIKE = 0.8
"""Likeness from which an unknown name is taken for a misspelt one."""


def meaning_of(name: str) -> str | None:
    """What a column of that name says; None: nothing to the theory.

    >>> meaning_of("alpha"), meaning_of("context-length"), meaning_of("author")
    ('context_length', 'context_length', None)
    """
    plain = name.strip().replace("-", "_").replace(" ", "_")
    return plain if plain in MEANINGS else _OTHER_NAMES.get(plain)


def refuse_misspelt(names: Iterable[str]) -> None:
    """Refuse names that mean nothing but are nearly those of something: a parameter would be left at its default.

    Raises ParameterError: it says what may have been meant.

    >>> refuse_misspelt(["author", "year"])
    """
    for name in names:
        if difflib.get_close_matches(name, (*MEANINGS, *APPENDED), n=1, cutoff=_ALIKE):
            raise ParameterError(
                f"column {name!r} is unknown{closest(name, MEANINGS)} If it is something else, rename it"
            )
