"""Options that several commands have, how options and commands are declared, and which options were given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from iclglass.cli.config import CONFIG
from iclglass.cli.kinds import FILE, GRID, INTEGER, NUMBER, TEXT, Kind
from iclglass.numerics.errors import ParameterError


def option(
    names: str, kind: Kind, meaning: str, *, required: bool = False, waived_by: str = "", **more: Any
) -> click.Option:
    """Return an option; `names` may end with what its value is called in the help.

    A required one must be given, unless another one is that waives it.
    """
    flags = [name for name in names.split() if name.startswith("-")]
    metavar = names.split()[-1] if len(flags) < len(names.split()) else None

    def demand(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if required and value is None and not (waived_by and given(waived_by)):
            other = f", or --{waived_by}" if waived_by else ""
            raise ParameterError(f"{param.opts[-1]} is required{other}: {meaning}")
        return value

    shown = f"{meaning} (required)" if required else meaning
    return click.Option(flags, type=kind, help=shown, metavar=metavar, callback=demand, **more)


def switch(names: str, meaning: str, **more: Any) -> click.Option:
    """Return an option without a value."""
    return click.Option([names], is_flag=True, help=meaning, **more)


def command(*options: click.Parameter, example: str) -> Callable[[Callable[..., int]], click.Command]:
    """Make a command of a function that takes the options by keyword and returns an exit code."""
    lines = "\n  ".join(["example:", *example.splitlines()])
    return click.command(params=[*options, CONFIG], epilog=f"\b\n{lines}")


def given(*keys: str) -> list[str]:
    """Return the options, as typed, that the running command was given on its command line or in its file."""
    ctx = click.get_current_context()
    sources = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    return [f"--{key.replace('_', '-')}" for key in keys if ctx.get_parameter_source(key) in sources]


MODEL_WORDS = (
    option(
        "--loss NAME",
        TEXT,
        "loss of one prompt: squared_error, absolute_error, huber; with sign labels also log_loss, hinge",
        default="squared_error",
    ),
    option("--labels linear|sign", TEXT, "labels of the context and of the query: linear or sign", default="linear"),
    option(
        "--spins NAME",
        TEXT,
        "weights off the diagonal: real, nonnegative, binary, ternary or integer",
        default="real",
    ),
    option("--ansatz rs|1rsb", TEXT, "replica symmetry, or one step of breaking it", default="rs"),
)


def parameters(kind: Kind, required: bool = True, **waived: str) -> tuple[click.Option, ...]:
    """Return the parameters of the theory at D -> infinity, and the model."""
    return (
        option("--task-diversity --tau", kind, "task diversity P/D^2, > 0", required=required, **waived),
        option("--context-length --alpha", kind, "context length N/D, > 0", required=required, **waived),
        option(
            "--distinct-tasks --kappa",
            kind,
            "distinct tasks K/D in the pool, > 0; inf: one task per prompt",
            default="inf",
        ),
        option("--label-noise --rho", kind, "variance of the label noise, >= 0", default="0"),
        option(
            "--ridge --lam",
            kind,
            "ridge D lambda0, >= 0; 0 is the ridgeless limit (default: 0.1; with --l1 or --nuclear 0)",
        ),
        option("--temperature", kind, "temperature D^2/beta, >= 0; 0 is the ground state", default="0"),
        option(
            "--test-context-length", kind, "context length N/D of test prompts, > 0; as in pretraining when not given"
        ),
        *MODEL_WORDS,
        option("--l1", kind, "lasso strength D^(3/2) l0, >= 0", default="0"),
        option("--nuclear", kind, "nuclear-norm strength D nu0 of the weights as a matrix, >= 0", default="0"),
        option("--spacing", kind, "spacing of discrete spins, > 0", default="1"),
        option("--huber-threshold", kind, "residual from which the Huber loss is linear, > 0", default="1.35"),
    )


NORM = option("--norm N|N+1", TEXT, "divisor of the attention sum at finite D: N or N+1", default="N")
LAYER = (
    option(
        "--last-feature unit-tokens|scaled-tokens",
        TEXT,
        "size of the mean squared label at finite D (SG: unit-tokens; LU, tokens of variance 1/D: "
        "scaled-tokens, 1/sqrt(D) smaller)",
        default="unit-tokens",
    ),
    switch(
        "--last-row/--no-last-row",
        "weights of the mean squared label at finite D (without them W is D x D)",
        default=True,
    ),
)
UNSEEN = option(
    "--largest-unseen-bias SHARE",
    NUMBER,
    "relative bias that must have been seen, or the verdict is inconclusive (exit code 6)",
    default=0.25,
)
SEED = option("--seed SEED", INTEGER, "seed of all random numbers, >= 0", default=0)
JSON = switch("--json", "print one JSON object")
FORCE = switch("--force", "replace existing files")
ENGINE = (
    option("--workers", INTEGER, "processes; the result does not depend on it (default: 1)"),
    option("--dask local|ADDRESS", TEXT, "compute on Dask: a cluster on this machine, or that of a scheduler"),
    switch("--mpi", "compute on the processes of an MPI job (mpiexec ... -m mpi4py.futures)"),
)


def engine(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the engine, as `executor` and `workers` of the Python functions.

    >>> engine({"dask": "tcp://10.0.0.1:8786", "mpi": False, "workers": None})
    {'executor': 'dask:tcp://10.0.0.1:8786', 'workers': None}
    """
    dask, mpi = values["dask"], values.get("mpi")
    if dask is not None and mpi:
        raise ParameterError("--dask and --mpi are two engines: choose one")
    if dask == "":
        raise ParameterError("--dask '' names no scheduler: give its address, or local for a cluster on this machine")
    executor = ("mpi" if mpi else None) if dask is None else "dask" if dask == "local" else f"dask:{dask}"
    return {"executor": executor, "workers": values["workers"]}


ANYWAY = switch(
    "--resume-anyway", "go on with what another version of this program has left unfinished; the result says so"
)


def finite_size(kind: Kind) -> tuple[click.Option, ...]:
    """Return the options of the finite-size theory."""
    names = "--dimension D|START:STOP:COUNT" if kind is GRID else "--dimension D"
    meaning = "token dimension D >= 4: finite-size theory; D -> infinity when not given"
    return option(names, kind, meaning), NORM, *LAYER


def swept(**waived: str) -> tuple[click.Option, ...]:
    """Return the options of a sweep of the theory."""
    return (
        *parameters(GRID, True, **waived),
        *finite_size(GRID),
        option("--out FILE.nc", FILE, "netCDF file to write", required=True, **waived),
        option("--plot FILE.png", FILE, "picture to write: one or two axes"),
        option("--observable NAME", TEXT, "quantity the picture shows", default="e_icl"),
        FORCE,
    )


def theory(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the options that are parameters of the theory, by the names of its Python functions, and `names`.

    A ridge that was not typed is left out.

    Raises
    ------
    ParameterError
        A norm without a dimension, which would be ignored.
    """
    from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS

    if values["dimension"] is None and given("norm"):
        raise ParameterError("--norm has no meaning at D -> infinity: give --dimension, or leave it out")
    layer = ("dimension", "norm", "last_feature", "last_row")
    found = {name: values[name] for name in (*PARAMETERS, *layer, *WORDS, *STRENGTHS, *names)}
    # Its default depends on the model.
    return found if found["ridge"] is not None else {name: found[name] for name in found if name != "ridge"}


def some(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return those of the options that have a value."""
    return {name: values[name] for name in names if values[name] is not None}
