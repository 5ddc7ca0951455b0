"""What each command does: call the library, print data on stdout, write files. No science here.

Each function takes the converted options by name and returns an exit code.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.options import number
from iclglass.output import DONE, NOT_CONVERGED, judged, print_json, to_json

if TYPE_CHECKING:
    from iclglass.validation.agreement import Agreement

__all__ = [
    "agreement_rows",
    "agreement_text",
    "check_outputs",
    "grid_parameters",
    "made",
    "run",
    "validation_outputs",
    "write_validation",
]

_PARAMETERS = ("task_diversity", "context_length", "distinct_tasks", "label_noise", "ridge", "temperature")


def run(name: str, values: Mapping[str, Any]) -> int:
    """Run the command ``name`` with converted options; returns its exit code."""
    if name == "demo":
        from iclglass.demo import demo

        return demo(Path(values["out"]), force=values["force"] or False)
    return _COMMANDS[name](values)


def _instance(values: Mapping[str, Any]) -> int:
    from iclglass import instance_command

    return instance_command.run(values)


def _train(values: Mapping[str, Any]) -> int:
    from iclglass import train_command

    return train_command.run(values)


def _sample(values: Mapping[str, Any]) -> int:
    from iclglass import sample_command

    return sample_command.run(values)


def _reproduce(values: Mapping[str, Any]) -> int:
    from iclglass import reproduce_command

    return reproduce_command.run(values)


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
    from iclglass.numerics.parameters import PARAMETERS
    from iclglass.numerics.saddle_point import solve_points
    from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES

    layer = LastRow(values["last_feature"], values["last_row"])
    names = (*_PARAMETERS, "test_context_length")
    given = {name: values[name] for name in names}
    by_name = {option: PARAMETERS[option].letter.replace("_", "-") for option in names} | {"temperature": "temperature"}
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
        solution = solve_points(floats, dimension=values["dimension"], norm=values["norm"], layer=layer)
        fields = solution.to_dict()
        results = {name: float(fields[name]) for name in (*OBSERVABLES, "residual", "error_bound")}
        status = Status(int(solution.status))
    if floats["test_context_length"] is None:
        floats["test_context_length"] = floats["context_length"]
    # JSON has no infinity, and null would read as 'does not exist'.
    shown: dict[str, Any] = {name: "inf" if value == math.inf else value for name, value in floats.items()}
    if values["digits"] is not None:
        # As typed: a float would round them.
        shown = {name: str(given[name] if given[name] is not None else given["context_length"]) for name in names}
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


def grid_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are parameters of the theory, by the names of its Python functions."""
    return {
        name: values[name]
        for name in (*_PARAMETERS, "test_context_length", "dimension", "norm", "last_feature", "last_row")
    }


def check_outputs(values: Mapping[str, Any], *, resumed: bool = False) -> None:
    """Refuse bad names and unwritable outputs before any work; ``resumed``: they may be there already, unfinished."""
    from iclglass.numerics.plotting import check_observable, check_picture
    from iclglass.numerics.storage import check_writable

    check_observable(values["observable"])
    if values["plot"] is not None:
        check_picture(values["plot"])
    # A picture follows from the data beside it.
    replaced = values["force"] or (resumed and (Path(values["out"]).exists() or _unfinished(values["out"])))
    for path in (values["out"], values["plot"]):
        if path is not None:
            check_writable(path, force=(resumed and path is values["out"]) or bool(replaced))
    if values["plot"] is not None and Path(values["plot"]).resolve() == Path(values["out"]).resolve():
        raise ParameterError(f"--plot and --out both name {values['out']}: choose two names")


def _unfinished(out: str) -> bool:
    from iclglass.validation.sweeping.checkpoint import checkpoint_path

    return checkpoint_path(out).exists()


def _finish(dataset: Any, values: Mapping[str, Any]) -> int:
    from iclglass.numerics.fixed_point import Status

    print(f"wrote {values['out']}" + (f" and {values['plot']}" if values["plot"] is not None else ""), file=sys.stderr)
    counts = status_counts(dataset)
    if values.get("json"):
        print_json({"out": values["out"], "points": dataset["status"].size, "status": counts})
    else:
        for name, count in counts.items():
            print(f"{count} of {dataset['status'].size} points: {Status[name.upper()].sentence}")
    return DONE if set(counts) <= {"converged"} else NOT_CONVERGED


def status_counts(dataset: Any) -> dict[str, int]:
    """Name of a status -> points that have it."""
    import numpy as np

    from iclglass.numerics.fixed_point import Status

    codes, counts = np.unique(dataset["status"].values, return_counts=True)
    return {Status(code).name.lower(): count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)}


def _sweep(values: Mapping[str, Any]) -> int:
    from iclglass import sweep_command

    if values["status"] is not None:
        return sweep_command.status(values)
    if values["simulate"] is not None:
        return sweep_command.run(values)
    sweep_command.refuse_simulated(values)
    from iclglass.numerics.plotting import draw_sweep, save_figure
    from iclglass.numerics.storage import save
    from iclglass.numerics.sweep import sweep
    from iclglass.progress import bar

    check_outputs(values)
    with bar("solving") as advance:
        dataset = sweep(**grid_parameters(values), progress=advance)
    # Drawn before anything is written: a grid that cannot be drawn leaves no half of the output behind.
    figure = draw_sweep(dataset, observable=values["observable"]) if values["plot"] is not None else None
    save(dataset, values["out"], force=values["force"] or False)
    if figure is not None:
        save_figure(figure, values["plot"], force=values["force"] or False)
    return _finish(dataset, values)


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
    check_outputs(values)
    with bar("solving") as advance:
        diagram = phase_diagram(**grid_parameters(values), lines=values["line"], progress=advance)
    figure = draw_phase_diagram(diagram, observable=values["observable"])
    save(diagram.to_dataset(), values["out"], force=values["force"] or False)
    save_figure(figure, values["plot"], force=values["force"] or False)
    for line in diagram.lines:
        vertices = sum(len(part) for part in line.parts)
        where = f"{vertices} points in {len(line.parts)} parts" if vertices else "does not cross this grid"
        print(f"line {line.name}: {where}")
    return _finish(diagram.dataset, values)


def _validate(values: Mapping[str, Any]) -> int:
    if values["suite"] is not None:
        from iclglass import suite_command
        from iclglass.table import COMMANDS

        options = next(command.options for command in COMMANDS if command.name == "validate")
        return suite_command.run(values, {option.key: option.default for option in options})
    for name, letter in (("task_diversity", "tau"), ("context_length", "alpha")):
        if values[name] is None:
            raise ParameterError(f"--{letter} is required, or --suite standard for the pre-registered points")
    from iclglass.progress import bar
    from iclglass.validation.crosscheck import validate

    folder = Path(values["out"])
    outputs = _validation_outputs(folder, force=values["force"] or False)
    with made(folder), bar("simulating") as advance:
        agreement = validate(
            **{name: values[name] for name in (*_PARAMETERS, "test_context_length")},
            dimension=values["dimension"],
            samples=values["samples"],
            seed=values["seed"],
            norm=values["norm"],
            last_feature=values["last_feature"],
            last_row=values["last_row"],
            false_alarm=values["false_alarm"],
            largest_unseen_bias=values["largest_unseen_bias"],
            workers=values["workers"],
            progress=advance,
            checkpoint=outputs["samples"],
            fresh=values["force"] or False,
            resume_anyway=values["resume_anyway"] or False,
        )
    write_validation(agreement, outputs)
    if values["json"]:
        print_json(agreement.to_dict())
    else:
        print(agreement_text(agreement))
    print(f"wrote {outputs['table']}, {outputs['text']} and {outputs['picture']}", file=sys.stderr)
    return judged(agreement.passed)


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """The folder exists inside the block; if the block fails before anything is in it, it is removed again.

    Raises:
        OutputError: it cannot be made.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be used as a folder: {error.strerror or error}") from error
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _validation_outputs(folder: Path, *, force: bool) -> dict[str, Path]:
    """Names of the outputs, refused if they would replace files that no samples beside them account for."""
    outputs = validation_outputs(folder)
    # Results follow from the samples beside them; without samples they are someone else's.
    if not force and not outputs["samples"].exists():
        existing = [path for path in outputs.values() if path.exists()]
        if existing:
            raise OutputError(f"{existing[0]} exists: choose another folder with --out, or --force to replace it")
    return outputs


def validation_outputs(folder: Path) -> dict[str, Path]:
    """Files of a validation in a folder: table (JSON), text, picture, and the finished samples."""
    return {
        "table": folder / "validation.json",
        "text": folder / "validation.txt",
        "picture": folder / "extrapolation.png",
        "samples": folder / "samples.jsonl",
    }


def write_validation(agreement: "Agreement", outputs: Mapping[str, Path]) -> None:
    """Write table, text and picture; they follow from the samples, so a rerun may replace them."""
    from iclglass.numerics.plotting import save_figure
    from iclglass.numerics.storage import provenance, replacing, without_time
    from iclglass.validation.figures import draw_extrapolation

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

    header = [
        "quantity",
        "theory",
        "simulation, D -> inf",
        "z",
        "limit",
        "agrees",
        "smallest bias seen",
        "of its size",
        "fit p",
    ]
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
    setting = f"{sizes}; norm {agreement.norm}{layer}, seed {agreement.seed}, {agreement.samples} data sets a size"
    return "\n".join([setting, "", *lines, "", f"{word(agreement.passed)}: {agreement.sentence}"])


_COMMANDS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "derive": _derive,
    "solve": _solve,
    "sweep": _sweep,
    "phase-diagram": _phase_diagram,
    "validate": _validate,
    "instance": _instance,
    "sample": _sample,
    "train": _train,
    "reproduce": _reproduce,
}
