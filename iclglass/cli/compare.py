"""``iclglass compare``: a table of measurements against the theory at their size."""

from typing import Any

import click

from iclglass.cli.kinds import FILE, INTEGER, NUMBER, TEXT
from iclglass.cli.options import FORCE, JSON, LAYER, NORM, UNSEEN, command, given, option, parameters, some
from iclglass.cli.output import check_outputs, judged, print_json, say, say_written
from iclglass.cli.progress import bar
from iclglass.numerics.errors import ParameterError

__all__ = ["compare"]


@command(
    click.Argument(["file"], type=FILE, metavar="FILE.csv"),
    option(
        "--column NAME=MEANING",
        TEXT,
        "what a column says whose name does not, as err=standard_error; may be repeated",
        multiple=True,
    ),
    option("--quantity NAME", TEXT, "quantity of all rows, where the table has no such column"),
    *parameters(NUMBER, required=False),
    option("--dimension D", INTEGER, "token dimension of all rows, where the table has no such column"),
    NORM,
    *LAYER,
    option("--pool gaussian|sphere", TEXT, "tasks of a pool at finite D: Gaussian, or |w|^2 = D", default="gaussian"),
    option("--token-correlation LENGTH", NUMBER, "correlation of tokens along the prompt, >= 0 tokens (default: none)"),
    option(
        "--rounding nearest|down",
        TEXT,
        "how tau D^2, alpha D and kappa D became whole numbers; down: int() of programs",
        default="nearest",
    ),
    option("--allow SHARE", NUMBER, "relative standard uncertainty allowed for the theory", default=0.005),
    option("--false-alarm RATE", NUMBER, "probability, at most, that a correct theory fails", default=0.01),
    UNSEEN,
    option("--out FILE.csv", FILE, "the table with theory, z and verdict of every row"),
    option("--plot FILE.png", FILE, "picture to write: measured against theory, and z"),
    FORCE,
    JSON,
    example="iclglass compare measured.csv --lam 0.1 --column err=standard_error --out out.csv --plot picture.png\n"
    "(columns: task_diversity or tau, context_length or alpha, ..., D, or P, N, K; quantity, mean, and\n"
    "standard_error, or std and runs)",
)
def compare(**values: Any) -> int:
    """Published or own measurements against theory.

    Every row at its parameters and its dimension, nothing fitted: z-scores, a verdict, and what bias could have been
    seen.
    """
    from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS
    from iclglass.numerics.plotting import draw_comparison, save_figure
    from iclglass.validation.measured.compare import compare

    check_outputs(values, {"out": (".csv",)})
    laws = (
        *PARAMETERS,
        *STRENGTHS,
        *WORDS,
        "dimension",
        "norm",
        "last_feature",
        "last_row",
        "pool",
        "token_correlation",
    )
    fixed = {name: values[name] for name in laws if given(name)}
    with bar("solving") as advance:
        found = compare(
            values["file"],
            columns=_renamed(values["column"]),
            **some(values, ("quantity", "rounding", "allow", "false_alarm", "largest_unseen_bias")),
            progress=advance,
            **fixed,
        )
    figure = draw_comparison(found) if values["plot"] is not None else None
    if values["out"] is not None:
        found.write(values["out"], force=values["force"])
    if figure is not None:
        save_figure(figure, values["plot"], force=values["force"])
    if found.table.unused:
        say(f"columns that say nothing to the theory: {', '.join(found.table.unused)}")
    if values["json"]:
        print_json(found.to_dict())
    else:
        print(_text(found))
    say_written(values["out"], values["plot"])
    return judged(found.passed)


def _renamed(texts: tuple[str, ...]) -> dict[str, str]:
    """NAME=MEANING as a mapping."""
    found = {}
    for text in texts:
        name, equal, meaning = text.partition("=")
        if not (name and equal and meaning):
            raise ParameterError(f"--column {text!r} must be NAME=MEANING, as err=standard_error")
        found[name] = meaning
    return found


def _text(comparison: Any) -> str:
    """The rows as aligned text, and the verdict."""
    from iclglass.validation.verdict import percent, word

    lines = [["row", "quantity", "measured", "theory", "z", "limit", "agrees", "smallest bias seen"]]
    for row in comparison.compared:
        lines.append(
            [
                str(row.row),
                row.quantity,
                f"{row.mean:.5g} +- {row.standard_error:.2g}",
                f"{row.theory:.5g}" + (f" +- {row.theory_error:.2g}" if row.theory_error else ""),
                f"{row.z:+.2f}",
                f"{row.limit:.2f}",
                "yes" if row.agrees else "NO",
                percent(row.unseen),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    given = {**comparison.fixed, **{f"{name} (default)": value for name, value in comparison.defaults.items()}}
    setting = [f"for all rows: {', '.join(f'{name} {value}' for name, value in given.items())}", ""] if given else []
    said = comparison.sentence.removeprefix("Inconclusive: ")
    return "\n".join([*setting, *table, "", f"{word(comparison.passed)}: {said}"])
