"""What each command does: call the library, print data on stdout, write files. No science here.

Each function takes the converted options by name and returns an exit code.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iclglass import (
    blocks_command,
    demo,
    instance_command,
    reproduce_command,
    sample_command,
    sweep_command,
    train_command,
    validate_command,
)
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.options import grid_parameters, number
from iclglass.output import DONE, NOT_CONVERGED, print_json

__all__ = ["run"]


def run(name: str, values: Mapping[str, Any]) -> int:
    """Run the command ``name`` with converted options; returns its exit code."""
    return _COMMANDS[name](values)


def _demo(values: Mapping[str, Any]) -> int:
    return demo.demo(Path(values["out"]), force=values["force"] or False)


def _instance(values: Mapping[str, Any]) -> int:
    return (blocks_command if values["blocks"] else instance_command).run(values)


def _derive(values: Mapping[str, Any]) -> int:
    from iclglass.replica.derivation import STAGES, derive
    from iclglass.replica.render import to_latex, to_text

    writers = {"text": to_text, "latex": to_latex}
    if values["format"] not in writers:
        raise ParameterError(f"--format {values['format']!r} must be text or latex")
    stage = values["stage"]
    if stage is not None and stage not in STAGES:
        raise ParameterError(f"--stage {stage!r} must be one of {', '.join(STAGES)}")
    derivation = derive()
    stages = derivation.stages if stage is None else (derivation.stage(stage),)
    print(writers[values["format"]](stages))
    return DONE


def _solve(values: Mapping[str, Any]) -> int:
    from iclglass.numerics.fixed_point import Status
    from iclglass.numerics.last_row import LastRow, refuse_without_dimension
    from iclglass.numerics.parameters import PARAMETERS, Parameters
    from iclglass.numerics.saddle_point import solve_points
    from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES

    layer = LastRow(values["last_feature"], values["last_row"])
    given = {name: values[name] for name in PARAMETERS}
    by_name = {name: parameter.letter.replace("_", "-") for name, parameter in PARAMETERS.items()}
    by_name["temperature"] = "temperature"
    read = _fraction if values["digits"] is not None else number
    floats = {name: None if text is None else read(by_name[name], text) for name, text in given.items()}
    if values["digits"] is not None:
        from iclglass.numerics.precision import solve_digits

        if floats["distinct_tasks"] != math.inf:
            raise ParameterError("--digits needs --kappa inf: only one task per prompt has a closed form")
        if values["dimension"] is not None:
            raise ParameterError("--digits goes without --dimension: the finite-size theory has double precision")
        refuse_without_dimension(layer)
        exact = {name: text for name, text in given.items() if name != "distinct_tasks"}
        precise = solve_digits(digits=values["digits"], **exact)
        results: dict[str, Any] = {name: precise.values[name] for name in OBSERVABLES}
        results |= {"residual": None, "error_bound": None}
        status = precise.status
    else:
        solution = solve_points(
            Parameters.of(floats | {"dimension": values["dimension"], "norm": values["norm"], **layer.to_dict()})
        )
        fields = solution.to_dict()
        results = {name: float(fields[name]) for name in (*OBSERVABLES, "residual", "error_bound")}
        status = Status(int(solution.status))
    if floats["test_context_length"] is None:
        floats["test_context_length"] = floats["context_length"]
    # JSON has no infinity, and null would read as 'does not exist'.
    shown: dict[str, Any] = {name: "inf" if value == math.inf else value for name, value in floats.items()}
    if values["digits"] is not None:
        # As typed: a float would round them.
        shown = {name: str(given[name] if given[name] is not None else given["context_length"]) for name in given}
    if values["dimension"] is not None:
        shown |= {"dimension": values["dimension"], "norm": values["norm"], **layer.to_dict()}
        shown |= {name: int(fields[name]) for name in ("prompts", "context", "task_count")}
    if values["json"]:
        print_json({"parameters": shown, **results, "status": status.sentence})
    else:
        for name, value in shown.items():
            print(f"{name:20s} {value if isinstance(value, (str, bool)) else format(value, '.12g')}")
        print()
        meanings = OBSERVABLES | DIAGNOSTICS
        for name, value in results.items():
            text = value if isinstance(value, str) else "-" if value is None or value != value else f"{value:.15g}"
            print(f"{name:20s} {text:24s} {meanings[name]}".rstrip())
        print(f"{'status':20s} {status.sentence}")
    return DONE if status == Status.CONVERGED else NOT_CONVERGED


def _fraction(name: str, text: str) -> float:
    """A number, or a fraction p/q, which only --digits takes exactly."""
    numerator, slash, denominator = text.partition("/")
    if not slash:
        return number(name, text)
    divisor = number(name, denominator)
    return number(name, numerator) / divisor if divisor else math.nan


def _phase_diagram(values: Mapping[str, Any]) -> int:
    from iclglass.numerics.phase_diagram import phase_diagram
    from iclglass.numerics.plotting import draw_phase_diagram, save_figure
    from iclglass.numerics.storage import save
    from iclglass.progress import bar

    if not Path(values["out"]).name:
        raise OutputError(f"--out {values['out']!r} is a folder: name a file in it")
    if Path(values["out"]).suffix.lower() in (".png", ".pdf", ".svg", ".jpg"):
        raise ParameterError(f"--out {values['out']} is the netCDF file (*.nc): the picture's name goes to --plot")
    if values["plot"] is None:
        values = {**values, "plot": str(Path(values["out"]).with_suffix(".png"))}
    with sweep_command.alone(values), bar("solving") as advance:
        diagram = phase_diagram(**grid_parameters(values), lines=values["line"], progress=advance)
        figure = draw_phase_diagram(diagram, observable=values["observable"])
        save(diagram.to_dataset(), values["out"], force=values["force"] or False)
        save_figure(figure, values["plot"], force=values["force"] or False)
    for line in diagram.lines:
        vertices = sum(len(part) for part in line.parts)
        where = f"{vertices} points in {len(line.parts)} parts" if vertices else "does not cross this grid"
        print(f"line {line.name}: {where}")
    return sweep_command.finish(diagram.dataset, values)


_COMMANDS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "demo": _demo,
    "derive": _derive,
    "solve": _solve,
    "sweep": sweep_command.run,
    "phase-diagram": _phase_diagram,
    "validate": validate_command.run,
    "instance": _instance,
    "sample": sample_command.run,
    "train": train_command.run,
    "reproduce": reproduce_command.run,
}
