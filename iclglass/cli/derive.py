"""``iclglass derive``: the chain from Hamiltonian to saddle-point equations."""

from typing import Any

from iclglass.cli.kinds import TEXT
from iclglass.cli.options import MODEL_WORDS, command, option, switch
from iclglass.cli.output import EXIT_DONE
from iclglass.numerics.errors import ParameterError

__all__ = ["derive"]


@command(
    option("--stage NAME", TEXT, "one stage by name; all when not given"),
    option("--format text|latex", TEXT, "text or latex", default="text"),
    *MODEL_WORDS,
    switch("--l1", "with a lasso beside the ridge"),
    example="iclglass derive --stage saddle-point",
)
def derive(**values: Any) -> int:
    """The chain from Hamiltonian to saddle-point equations."""
    from iclglass.numerics.model_choice import chosen, is_builtin
    from iclglass.numerics.parameters import WORDS, Parameters
    from iclglass.replica.derivation import STAGES, derive
    from iclglass.replica.render import to_latex, to_text

    writers = {"text": to_text, "latex": to_latex}
    if values["format"] not in writers:
        raise ParameterError(f"--format {values['format']!r} must be text or latex")
    stage = values["stage"]
    if stage is not None and stage not in STAGES:
        raise ParameterError(f"--stage {stage!r} must be one of {', '.join(STAGES)}")
    # Any numbers choose the model: the derivation has symbols in their place.
    words = {word: values[word] for word in WORDS}
    point = Parameters.of({"task_diversity": 1.0, "context_length": 1.0, "l1": float(values["l1"]), **words})
    derivation = derive() if is_builtin(point) else derive(chosen(point).model)
    stages = derivation.stages if stage is None else (derivation.stage(stage),)
    print(writers[values["format"]](stages))
    return EXIT_DONE
