"""``iclglass train``: the linear attention layer trained on one data set, drawn or the user's own."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from iclglass.cli.data_set import DATA_SET, RIDGE0, Source, data_set
from iclglass.cli.kinds import FILE, INTEGER, NUMBER, TEXT
from iclglass.cli.options import ANYWAY, ENGINE, FORCE, JSON, command, engine, option, some
from iclglass.cli.output import (
    EXIT_DONE,
    EXIT_NOT_CONVERGED,
    check_outputs,
    print_json,
    print_parameters,
    say,
    say_written,
)
from iclglass.cli.progress import bar
from iclglass.numerics.errors import ConvergenceError

if TYPE_CHECKING:
    from iclglass.numerics.instance.data import Instance
    from iclglass.validation.training.run import TrainingRun

__all__ = ["train"]

_TRAINED = ("parametrisation", "optimiser", "steps", "learning_rate", "ridge0", "batch", "tolerance", "backend")


@command(
    *DATA_SET,
    RIDGE0,
    option("--parametrisation merged|separate", TEXT, "merged: W; separate: W_k and W_q", default="merged"),
    option("--optimiser gd|sgd|adam", TEXT, "gd, sgd (with --batch) or adam", default="gd"),
    option("--steps", INTEGER, "updates, >= 1", required=True),
    option("--learning-rate", NUMBER, "step size, > 0", required=True),
    option("--batch", INTEGER, "prompts at a step, for sgd and adam (default for adam: all)"),
    option("--tolerance", NUMBER, "stop at this relative gradient; exit code 3 if not reached"),
    option("--backend numpy|torch", TEXT, "numpy, or torch (extra iclglass[torch])", default="numpy"),
    option("--out FILE.npz", FILE, "file of the run: the same command resumes it"),
    option("--plot FILE.png", FILE, "picture to write: energy and test error against the step"),
    *ENGINE,
    FORCE,
    ANYWAY,
    JSON,
    example="iclglass train --dimension 20 --context 100 --prompts 800 --ridge0 0.001 --steps 3000 --learning-rate 0.3",
)
def train(**values: Any) -> int:
    """The linear attention layer trained on one data set.

    In SG's unscaled parameters; beside it the theory of gradient flow, and of where training ends.
    """
    import numpy as np

    from iclglass.numerics.arguments import check_count, check_real
    from iclglass.validation.training import Outcome, train

    where = engine(values)
    # What is bad is named before anything is drawn.
    check_count("steps", values["steps"], minimum=1)
    check_real("learning_rate", values["learning_rate"], minimum=0.0, above=True)
    check_real("ridge0", values["ridge0"], minimum=0.0)
    check_outputs(values, {"out": (".npz",)}, resumed=("out",))  # a run that is there goes on
    seed = check_count("seed", values["seed"], minimum=0)
    rng = np.random.default_rng(seed)
    source = data_set(values, rng)
    theory = _ground_state_theory(source, values)
    options = some(values, _TRAINED)
    with bar("training") as advance:
        result = train(
            source.instance,
            **options,
            test=source.moments(),
            checkpoint=values["out"],
            fresh=values["force"],
            resume_anyway=values["resume_anyway"],
            **where,
            rng=rng,
            progress=advance,
            say=say,
        )
    parameters = {**source.parameters, **options}
    quantities = {
        "step": int(result.steps[-1]),
        "energy": float(result.energy[-1]),
        "ground_energy": _ground_energy(source.instance, values),
        "e_train": float(result.train_error[-1]),
        "e_icl": float(result.test_error[-1]),
        "residual": float(result.residual[-1]),
        "stable_rate": result.stable_rate,
    }
    flow = _flow(source, values, result)
    last = {} if flow is None else {name: float(flow[name][-1]) for name in ("energy", "e_train", "e_icl")}
    if values["json"]:
        history = {name: getattr(result, name).tolist() for name in ("steps", "energy", "train_error", "test_error")}
        record = {"parameters": parameters, **quantities, "gradient_flow": last, "theory": theory}
        print_json({**record, "history": history, "status": result.outcome.value, "reason": result.reason})
    else:
        _print_text(parameters, quantities, {"finite-size theory": theory, "gradient flow": last}, result)
    _write(result, quantities["ground_energy"], theory.get("e_icl"), flow, values)
    return EXIT_DONE if result.outcome in (Outcome.COMPLETED, Outcome.CONVERGED) else EXIT_NOT_CONVERGED


def _ground_state_theory(found: Source, values: Mapping[str, Any]) -> dict[str, float]:
    """Errors of the ground state by the finite-size theory, where training ends there whatever it starts from."""
    few = found.instance.prompts <= found.instance.spins
    if few if values["ridge0"] == 0 else values["parametrisation"] != "merged":
        return {}
    theory = found.theory(ridge0=values["ridge0"], beta=math.inf)
    return {name: theory[name] for name in ("e_train", "e_icl") if theory}


def _ground_energy(instance: "Instance", values: Mapping[str, Any]) -> float:
    """The least energy of the merged layer; NaN where it is not that of what was trained, or cannot be had."""
    from iclglass.numerics.instance.linear_response import ground_state
    from iclglass.numerics.instance.spin_glass import energy

    if values["parametrisation"] == "separate" and values["ridge0"] > 0:
        return float("nan")
    with suppress(ConvergenceError):
        return energy(instance, ground_state(instance, values["ridge0"], "cg"), values["ridge0"])
    return float("nan")


def _flow(source: Source, values: Mapping[str, Any], result: "TrainingRun") -> dict[str, Any] | None:
    """The theory of gradient flow at the steps recorded, for descent on a data set whose law is known."""
    from iclglass.numerics.learning_curve import learning_curve
    from iclglass.numerics.sizes import from_unscaled

    later = result.steps[result.steps > 0]
    if source.law is None or values["optimiser"] != "gd" or values["parametrisation"] != "merged" or not later.size:
        return None
    size, sizes = source.instance.dimension, {name: values[name] for name in ("prompts", "context", "ridge0")}
    curve = learning_curve(
        time=later * values["learning_rate"] / size,
        **from_unscaled(size, **sizes),
        label_noise=values["label_noise"],
        initial_overlap=1.0,  # entries of variance 1/(D+1)
    )
    return {"steps": later, **curve.to_dict()}


def _print_text(
    parameters: Mapping[str, Any],
    quantities: Mapping[str, float],
    theories: Mapping[str, Mapping[str, float]],
    result: "TrainingRun",
) -> None:
    print_parameters(parameters)
    shown = {heading: theory for heading, theory in theories.items() if theory}
    print(f"\n{'':16s} {'this run':20s} {''.join(f'{heading:20s}' for heading in shown)}".rstrip())
    for name, value in quantities.items():
        number = "-" if value != value else format(value, ".10g")
        expected = "".join(f"{theory[name]:<20.6g}" if name in theory else 20 * " " for theory in shown.values())
        print(f"{name:16s} {number:20s} {expected}".rstrip())
    print(f"{'status':16s} {result.outcome.value}")
    print(f"{'reason':16s} {result.reason}")


def _write(
    result: "TrainingRun",
    ground_energy: float,
    final_error: float | None,
    flow: dict[str, Any] | None,
    values: Mapping[str, Any],
) -> None:
    from iclglass.validation.training import Outcome

    written = [None if result.outcome is Outcome.DIVERGES else values["out"]]
    if values["plot"] is not None and result.steps[-1] > 0:
        from iclglass.numerics.plotting import draw_training, save_figure

        steps = None if flow is None else flow["steps"]
        ends = {"ground_energy": ground_energy, "final_error": final_error}
        figure = draw_training(result, **ends, flow_steps=steps, flow=flow)
        save_figure(figure, values["plot"], force=values["force"])
        written.append(values["plot"])
    say_written(*written)
