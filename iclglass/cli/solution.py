"""The solution of one data set as text."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from iclglass.cli.output import print_parameters

if TYPE_CHECKING:
    from iclglass.numerics.status import Status

__all__ = ["named", "print_solution"]

_MEANINGS = {
    "uniqueness": "q/q_self: 1 when all weights are the same solution",
    "free_energy": "-T ln Z/D^2 as in solve, T = D^2/beta",
    "log_partition": "ln Z, flat measure of the active weights",
}
"""Beside those of the saddle point."""


def print_solution(
    parameters: Mapping[str, Any],
    quantities: Mapping[str, float],
    theory: Mapping[str, float],
    diagnostics: Mapping[str, float],
    status: "Status",
    reason: str,
) -> None:
    """Print parameters, quantities beside their theory, diagnostics, what became of it."""
    from iclglass.numerics.solution import OBSERVABLES

    meanings = OBSERVABLES | _MEANINGS
    print_parameters(parameters)
    heading = "finite-size theory" if theory else ""
    print(f"\n{'':16s} {'this data set':20s} {heading}".rstrip())
    for name, value in quantities.items():
        expected = f"{theory[name]:.6g}" if name in theory else ""
        print(f"{name:16s} {_number(value, '.10g'):20s} {expected:20s} {meanings[name]}")
    print()
    for name, value in diagnostics.items():
        print(f"{name:16s} {_number(value, '.3g')}")
    print(f"{'status':16s} {named(status)}")
    print(f"{'reason':16s} {reason}")


def named(status: "Status") -> str:
    """The status without the sentence, which speaks of the saddle point: the solution has its own reason."""
    return status.name.lower().replace("_", " ")


def _number(value: float, form: str) -> str:
    return "-" if value != value else format(value, form)
