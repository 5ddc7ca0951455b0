"""``iclglass validate``: the theory of one point against simulations, its table and its picture."""

from pathlib import Path
from typing import Any

from iclglass.cli.kinds import DIR, INTEGER, INTEGERS, NUMBER, TEXT
from iclglass.cli.options import (
    ANYWAY,
    ENGINE,
    FORCE,
    JSON,
    LAYER,
    NORM,
    SEED,
    UNSEEN,
    command,
    engine,
    option,
    parameters,
    theory,
)
from iclglass.cli.outcome import agreement_text, validation_outputs, write_validation
from iclglass.cli.output import judged, made, print_json, refuse_existing, say, say_written
from iclglass.cli.progress import bar
from iclglass.cli.suite import run_suite_command

__all__ = ["validate"]

_PASSED_ON = ("samples", "seed", "false_alarm", "largest_unseen_bias", "resume_anyway")


@command(
    *parameters(NUMBER, waived_by="suite"),
    option("--dimension D1,D2,..", INTEGERS, "token dimensions D to simulate, at least two", default="8,12,20,32"),
    option("--samples", INTEGER, "independent data sets at each dimension, >= 2", default=32),
    SEED,
    NORM,
    *LAYER,
    option("--false-alarm RATE", NUMBER, "probability, at most, that a correct theory fails", default=0.01),
    UNSEEN,
    *ENGINE,
    option(
        "--suite standard|full",
        TEXT,
        "instead of one point the pre-registered points, coverage and negative controls, with a page:"
        " standard (2 minutes) or full (10)",
        is_eager=True,
    ),
    option(
        "--out",
        DIR,
        "folder for table, picture and finished samples; the same command resumes",
        default="iclglass-validation",
    ),
    FORCE,
    ANYWAY,
    JSON,
    example="iclglass validate --tau 2 --alpha 1 --lam 0.1 --dimension 16,24,32,48 --samples 32",
)
def validate(**values: Any) -> int:
    """Theory against finite-size Monte Carlo, with a verdict.

    Means over data sets are extrapolated to infinite D: as value + a/D + b/D^2 for ridge and squared error, and for
    other models as value + a/D^2 + b/D^3 of what the finite-size theory leaves (the nuclear norm with last row has none
    and keeps a/D + b/D^2). The table has z-scores and what bias could have been seen.
    """
    if values["suite"] is not None:
        return run_suite_command(values)
    from iclglass.validation.crosscheck import validate

    folder = Path(values["out"])
    outputs = validation_outputs(folder)
    # Results follow from the samples beside them; without samples they are someone else's.
    if not values["force"] and not outputs["samples"].exists():
        refuse_existing(outputs.values())
    with made(folder), bar("simulating") as advance:
        agreement = validate(
            **theory(values, *_PASSED_ON),
            **engine(values),
            progress=advance,
            say=say,
            checkpoint=outputs["samples"],
            fresh=values["force"],
        )
    write_validation(agreement, outputs)
    if values["json"]:
        print_json(agreement.to_dict())
    else:
        print(agreement_text(agreement))
    say_written(outputs["table"], outputs["text"], outputs["picture"])
    return judged(agreement.passed)
