"""The outcome of a validation: its table, its text, its files."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from iclglass.cli.output import to_json

if TYPE_CHECKING:
    from iclglass.validation.agreement import Agreement

__all__ = ["agreement_rows", "agreement_text", "validation_outputs", "write_validation"]


def validation_outputs(folder: Path) -> dict[str, Path]:
    """Files of a validation in a folder: table (JSON), text, picture, and the finished samples."""
    return {
        "table": folder / "validation.json",
        "text": folder / "validation.txt",
        "picture": folder / "extrapolation.png",
        "samples": folder / "samples.checkpoint",
    }


def write_validation(agreement: "Agreement", outputs: Mapping[str, Path]) -> None:
    """Write table, text and picture; they follow from the samples, so a rerun may replace them."""
    from iclglass.numerics.plotting import draw_extrapolation, save_figure
    from iclglass.numerics.storage import provenance, replacing, without_time

    with replacing(outputs["table"], force=True) as temporary:
        origin = provenance({}, seed=agreement.seed, modules=["iclglass.validation.crosscheck"])
        record = {**agreement.to_dict(), "provenance": without_time(origin)}
        temporary.write_text(to_json(record) + "\n", encoding="utf-8")
    with replacing(outputs["text"], force=True) as temporary:
        temporary.write_text(agreement_text(agreement) + "\n", encoding="utf-8")
    save_figure(draw_extrapolation(agreement), outputs["picture"], force=True)


def agreement_rows(agreement: "Agreement") -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of an agreement, as text."""
    from iclglass.validation.verdict import percent

    header = ["quantity", "theory", "simulation, D -> inf", "z", "limit", "agrees"]
    header += ["smallest bias seen", "of its size", "fit p"]
    header += [f"z at D={dimension}" for dimension in agreement.dimensions]
    rows = []
    for row in agreement.rows:
        p_value = "-" if math.isnan(row.fit_p_value) else f"{row.fit_p_value:.2f}"
        cells = [
            row.quantity,
            f"{row.theory:.5f}",
            f"{row.extrapolated:.5f} +- {row.standard_error:.5f}",
            f"{row.z:+.2f}",
            row.limit,
            {True: "yes", False: "NO", None: "?"}[row.agrees],
            f"{row.smallest_detectable_bias:.2g}",
            percent(row.unseen),
            p_value,
        ]
        rows.append(cells + [f"{size.z:+.1f}" for size in row.sizes])
    return header, rows


def agreement_text(agreement: "Agreement") -> str:
    """The table of an agreement and its verdict, as aligned text."""
    from iclglass.validation.verdict import word

    header, rows = agreement_rows(agreement)
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in (header, *rows)]
    sizes = ", ".join(
        f"D={dimension}: P={prompts}, N={context}"
        for dimension, prompts, context in zip(agreement.dimensions, agreement.prompts, agreement.contexts, strict=True)
    )
    layer = "" if agreement.last_row else ", no last row"
    if agreement.last_feature != "unit-tokens":
        layer = f", last feature {agreement.last_feature}"
    model = "".join(f", {name} {value}" for name, value in agreement.model.items())
    setting = (
        f"{sizes}; norm {agreement.norm}{layer}{model}, seed {agreement.seed}, {agreement.samples} data sets a size"
    )
    said = agreement.sentence.removeprefix("Inconclusive: ")  # which the word before it says
    return "\n".join([setting, "", *lines, "", f"{word(agreement.passed)}: {said}"])
