"""``iclglass solve``: one point, in double precision or to any number of digits."""

import math
from typing import Any

from iclglass.cli.kinds import INTEGER, TEXT, number
from iclglass.cli.options import JSON, command, finite_size, option, parameters, theory
from iclglass.cli.output import EXIT_DONE, EXIT_NOT_CONVERGED, print_json, print_parameters, say
from iclglass.numerics.errors import ParameterError

__all__ = ["solve"]


@command(
    *parameters(TEXT),
    *finite_size(INTEGER),
    option("--digits", INTEGER, "solve with mpmath to this many digits"),
    JSON,
    example="iclglass solve --tau 2 --alpha 1 --lam 0.1 --json",
)
def solve(**values: Any) -> int:
    """One point: order parameters, errors, free energy."""
    from iclglass.numerics.last_row import LastRow, refuse_without_dimension
    from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS, Parameters
    from iclglass.numerics.saddle_point import solve_points
    from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES, OF_MODELS, QUANTITIES, SENTENCES, solved
    from iclglass.numerics.status import Status

    layer = LastRow(values["last_feature"], values["last_row"])
    law = theory(values)
    given = {name: law[name] for name in (*PARAMETERS, *STRENGTHS) if name in law}
    typed = {option.name: option.opts[-1] for option in solve.params}
    read = _fraction if values["digits"] is not None else number
    floats = {name: None if text is None else read(typed[name], text) for name, text in given.items()}
    model = {name: law[name] for name in WORDS} | {name: floats.pop(name) for name in STRENGTHS}
    if values["digits"] is not None:
        from iclglass.numerics.precision import solve_digits

        if floats["distinct_tasks"] != math.inf:
            raise ParameterError("--digits needs --kappa inf: only one task per prompt has a closed form")
        if values["dimension"] is not None:
            raise ParameterError("--digits goes without --dimension: the finite-size theory has double precision")
        refuse_without_dimension(layer)
        chosen = {name: model[name] for name in WORDS if model[name] != WORDS[name][0]}
        chosen |= {name: given[name] for name, known in STRENGTHS.items() if model[name] != known.default}
        exact = {name: given[name] for name in PARAMETERS if name in given and name != "distinct_tasks"}
        precise = solve_digits(digits=values["digits"], **exact, **chosen)
        of_model = [name for name in OF_MODELS if precise.values.get(name) is not None]
        results: dict[str, Any] = {name: precise.values[name] for name in (*OBSERVABLES, *of_model)}
        results |= {"residual": None, "error_bound": None}
        status = precise.status
    else:
        sizes = {"dimension": values["dimension"], "norm": values["norm"], **layer.to_dict()}
        point = Parameters.of({**floats, **model, **sizes})
        solution = solve_points(point)
        fields = solution.to_dict()
        shown_here = (*OBSERVABLES, *(name for name in OF_MODELS if name in fields), "residual", "error_bound")
        results = {name: float(fields[name]) for name in shown_here}
        status = Status(int(solution.status))
        # JSON has no infinity, and null would read as 'does not exist'.
        numbers = {name: float(value) for name, value in point.scaled.items()}
        shown: dict[str, Any] = {name: "inf" if value == math.inf else value for name, value in numbers.items()}
        shown |= {name: value if name in WORDS else float(value) for name, value in point.chosen.items()}
    if values["digits"] is not None:
        # As typed: a float would round them.
        given.setdefault("ridge", precise.ridge)
        shown = {name: str(given[name] if given[name] is not None else given["context_length"]) for name in PARAMETERS}
        shown |= chosen
    if values["dimension"] is not None:
        shown |= {"dimension": values["dimension"], "norm": values["norm"], **layer.to_dict()}
        shown |= {name: int(fields[name]) for name in ("prompts", "context", "task_count")}
    if status == Status.RS_UNSTABLE:
        say(SENTENCES[status])
    count = results.get("solutions") or 0
    if count > 1:
        say(f"{count:.0f} saddle points were found from several starts: the one of least free energy is given")
    if values["json"]:
        print_json({"parameters": shown, **results, "status": SENTENCES[status]})
    else:
        print_parameters(shown, width=20)
        print()
        meanings = QUANTITIES | DIAGNOSTICS
        for name, value in results.items():
            text = value if isinstance(value, str) else "-" if value is None or value != value else f"{value:.15g}"
            print(f"{name:20s} {text:24s} {meanings[name]}".rstrip())
        print(f"{'status':20s} {SENTENCES[status]}")
    return EXIT_DONE if solved(status) else EXIT_NOT_CONVERGED


def _fraction(name: str, text: str) -> float:
    """A number, or a fraction p/q, which only --digits takes exactly."""
    numerator, slash, denominator = text.partition("/")
    if not slash:
        return number(name, text)
    divisor = number(name, denominator)
    return number(name, numerator) / divisor if divisor else math.nan
