"""Names, letters, ranges and defaults of all parameters, and the words that choose a model: data only.

Source of the names: the project's interface, README.md. All are dimensionless scaled parameters of notes/notation.md.
"""

import math
from dataclasses import dataclass

__all__ = ["ANSATZE", "LABELS", "LOSSES", "OF_PATHS", "PARAMETERS", "SPINS", "STRENGTHS", "WORDS", "Parameter"]

LOSSES = ("squared_error", "absolute_error", "huber", "log_loss", "hinge")
LABELS = ("linear", "sign")
SPINS = ("real", "nonnegative", "binary", "ternary", "integer")
ANSATZE = ("rs", "1rsb")
WORDS = {"loss": LOSSES, "labels": LABELS, "spins": SPINS, "ansatz": ANSATZE}
"""What can be chosen in words; the first is the default. `replica.losses` and `replica.measures` say what they mean."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of the theory.

    name : Python keyword.
    letter : short name on the command line and of the symbol.
    meaning : one line for help texts and labels.
    symbol : Unicode symbol for axis labels.
    zero_allowed : whether 0 is in the range; no parameter is negative.
    infinite : whether infinity is in the range.
    default : value when not given; None means required (or another parameter's value, said in ``meaning``).
    remedy : what to do about a value out of range.
    """

    name: str
    letter: str
    meaning: str
    symbol: str
    zero_allowed: bool
    default: float | None
    remedy: str
    infinite: bool = False

    @property
    def range(self) -> str:
        """The range in words."""
        low = ">= 0" if self.zero_allowed else "> 0"
        return f"{low}, or infinite" if self.infinite else f"finite and {low}"


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "task_diversity", "tau", "task diversity P/D^2", "τ", False, None, "take P >= 1 prompts: tau = P/D^2 > 0"
        ),
        Parameter(
            "context_length", "alpha", "context length N/D", "α", False, None, "take N >= 1 tokens: alpha = N/D > 0"
        ),
        Parameter(
            "distinct_tasks",
            "kappa",
            "distinct tasks K/D; infinity: one task per prompt",
            "κ",
            False,
            math.inf,
            "take K >= 1 tasks, kappa = K/D > 0, or inf for one task per prompt",
            infinite=True,
        ),
        Parameter("label_noise", "rho", "variance of the label noise", "ρ", True, 0.0, "a variance is not negative"),
        Parameter(
            "ridge", "lam", "ridge D lambda0; 0 is the ridgeless limit", "λ", True, 0.1, "0 is the ridgeless limit"
        ),
        Parameter(
            "temperature", "T", "temperature D^2/beta; 0 is the ground state", "T", True, 0.0, "0 is the ground state"
        ),
        Parameter(
            "test_context_length",
            "test_context_length",
            "context length of test prompts; as in pretraining when not given",
            "α_test",
            False,
            None,
            "leave it out to test at the pretraining context length",
        ),
    )
}
STRENGTHS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter("l1", "l1", "lasso strength D^(3/2) l0", "l₁", True, 0.0, "0 is no lasso"),
        Parameter("nuclear", "nuclear", "nuclear-norm strength D nu0", "ν", True, 0.0, "0 is no nuclear norm"),
        Parameter(
            "spacing", "spacing", "spacing of discrete spins", "c", False, 1.0, "levels are its multiples: W sqrt(D)/c"
        ),
        Parameter(
            "huber_threshold",
            "huber_threshold",
            "residual from which the Huber loss is linear",
            "δ",
            False,
            1.35,
            "a large one is the squared error",
        ),
    )
}
"""Strengths of the model that is chosen, beside the ridge; they mean something only where the model has them."""

OF_PATHS = {
    parameter.name: parameter
    for parameter in (
        Parameter("time", "t", "time of gradient flow", "t", True, None, "the flow starts at time 0", infinite=True),
        Parameter("initial_overlap", "q0", "|W0|^2/D", "q_0", True, 0.0, "it is a sum of squares, |W0|^2/D"),
        Parameter("initial_chi", "chi0", "first variance", "χ_0", True, None, "it is a variance"),
    )
}
"""What gradient flow and message passing start from and go through, beside the theory's parameters."""
