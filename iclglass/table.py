"""The table of commands and their options: what `iclglass --help` shows and the command line and TOML files fill."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from iclglass.options import Option, grid, integer, integers, number, text

__all__ = ["COMMANDS", "Command"]


@dataclass(frozen=True)
class Command:
    """One command: its name, help, options, an example for the help text, and the name and help of its argument."""

    name: str
    help: str
    options: tuple[Option, ...]
    example: str
    argument: tuple[str, str] | None = None


def _parameters(convert: Callable[[str, str], object], *, grids: bool) -> tuple[Option, ...]:
    """The parameters of the theory; as numbers, or as grids."""
    what = "VALUE|START:STOP:COUNT[:log]" if grids else "VALUE"
    return (
        Option(("task-diversity", "tau"), convert, "task diversity P/D^2, > 0", what, required=True),
        Option(("context-length", "alpha"), convert, "context length N/D, > 0", what, required=True),
        Option(
            ("distinct-tasks", "kappa"),
            convert,
            "distinct tasks K/D in the pool, > 0; inf: one task per prompt",
            what,
            convert("kappa", "inf"),
        ),
        Option(("label-noise", "rho"), convert, "variance of the label noise, >= 0", what, convert("rho", "0")),
        Option(
            ("ridge", "lam"),
            convert,
            "ridge D lambda0, >= 0; 0 is the ridgeless limit",
            what,
            convert("lam", "0.1"),
        ),
        Option(
            ("temperature",),
            convert,
            "temperature D^2/beta, >= 0; 0 is the ground state",
            what,
            convert("T", "0"),
        ),
    )


def _test_context(convert: Callable[[str, str], object], *, grids: bool) -> Option:
    what = "VALUE|START:STOP:COUNT[:log]" if grids else "VALUE"
    meaning = "context length N/D of test prompts, > 0; as in pretraining when not given"
    return Option(("test-context-length",), convert, meaning, what)


def _finite_size(convert: Callable[[str, str], object], what: str) -> tuple[Option, ...]:
    return (
        Option(
            ("dimension",), convert, "token dimension D >= 4: finite-size theory; D -> infinity when not given", what
        ),
        _NORM,
        *_LAYER,
    )


_NORM = Option(("norm",), text, "divisor of the attention sum at finite D: N or N+1", "N|N+1", default="N")
_LAST_FEATURE = Option(
    ("last-feature",),
    text,
    "size of the mean squared label at finite D (SG: unit-tokens; LU, tokens of variance 1/D: scaled-tokens, 1/sqrt(D) "
    "smaller)",
    "unit-tokens|scaled-tokens",
    default="unit-tokens",
)
_LAST_ROW = Option(
    ("last-row",),
    text,
    "weights of the mean squared label at finite D (default: on; without W is D x D)",
    switch=True,
    negatable=True,
    default=True,
)
_LAYER = (_LAST_FEATURE, _LAST_ROW)
_UNSEEN = Option(
    ("largest-unseen-bias",),
    number,
    "relative bias that must have been seen, or the verdict is inconclusive (exit code 6)",
    "SHARE",
    default=0.25,
)
_JSON = Option(("json",), text, "print one JSON object", switch=True)
_FORCE = Option(("force",), text, "replace existing files", switch=True)
_ENGINE = (
    Option(("workers",), integer, "processes; the result does not depend on it (default: 1)", "COUNT"),
    Option(("dask",), text, "compute on Dask: a cluster on this machine, or that of a scheduler", "local|ADDRESS"),
    Option(("mpi",), text, "compute on the processes of an MPI job (mpiexec ... -m mpi4py.futures)", switch=True),
)
_ANYWAY = Option(
    ("resume-anyway",),
    text,
    "go on with what another version of this program has left unfinished; the result says so",
    switch=True,
)
_SWEEP = (
    *_parameters(grid, grids=True),
    _test_context(grid, grids=True),
    *_finite_size(grid, "D|START:STOP:COUNT"),
    Option(("out",), text, "netCDF file to write", "FILE.nc", required=True),
    Option(("plot",), text, "picture to write: one or two axes", "FILE.png"),
    Option(("observable",), text, "quantity the picture shows", "NAME", default="e_icl"),
    _FORCE,
)
_SIMULATED = (
    Option(
        ("simulate",),
        text,
        "at every point: simulation (data sets drawn, exact linear algebra; when no ROAD is given), message-passing, "
        "sampling, training, or theory (nothing drawn, but resumable and on any engine)",
        "ROAD",
        implied="simulation",
    ),
    Option(("samples",), integer, "independent data sets at each point, >= 1 (default: 8)", "COUNT"),
    Option(("seed",), integer, "seed of all random numbers, >= 0 (default: 0)", "SEED"),
    Option(("without-theory",), text, "do not solve the theory beside what is simulated", switch=True),
    Option(
        ("method",),
        text,
        "message-passing: gamp, exact, tap or published; sampling: exact, heat-bath, langevin, mala or hmc "
        "(default: the first)",
        "METHOD",
    ),
    Option(("draws",), integer, "sampling: draws of each of two chains (default: 200)", "COUNT"),
    Option(("steps",), integer, "training, message-passing: most steps (default: 100000; the method's)", "COUNT"),
    Option(("learning-rate",), number, "training: step size (default: half the largest stable one)", "VALUE"),
    Option(("tolerance",), number, "training, message-passing: relative residual to reach", "VALUE"),
    *_ENGINE,
    _ANYWAY,
    Option(("status",), text, "say how far the sweep with this output is, and nothing else", "FILE"),
)
_SAMPLING = (
    Option(
        ("dimension",),
        integers,
        "token dimensions D to simulate, at least two",
        "D1,D2,..",
        default=(8, 12, 20, 32),
    ),
    Option(("samples",), integer, "independent data sets at each dimension, >= 2", "COUNT", default=32),
    Option(("seed",), integer, "seed of all random numbers, >= 0", "SEED", default=0),
    _NORM,
    *_LAYER,
    Option(("false-alarm",), number, "probability, at most, that a correct theory fails", "RATE", default=0.01),
    _UNSEEN,
    *_ENGINE,
)

_DATA_SET = (
    Option(("dimension",), integer, "token dimension D of a data set to draw, >= 2", "D"),
    Option(("context",), integer, "labelled tokens N in a prompt, >= 1", "N"),
    Option(("prompts",), integer, "prompts P, each with its own task, >= 1", "P"),
    Option(("label-noise", "rho"), number, "variance of the label noise, >= 0 (default: 0)", "VALUE"),
    Option(("norm",), text, "divisor of the attention sum: N or N+1 (default: N)", "N|N+1"),
    replace(_LAST_FEATURE, default=None, help=_LAST_FEATURE.help + " (default: unit-tokens)"),
    replace(_LAST_ROW, default=None),
    Option(("seed",), integer, "seed of all random numbers, >= 0", "SEED", default=0),
    Option(
        ("data",),
        text,
        "a data set of your own instead: arrays context, query, label, or tokens, labels, query, label",
        "FILE.npz|.nc",
    ),
)

COMMANDS = (
    Command(
        "demo",
        "derive, solve across task diversity, phase diagram, cross-check: pictures and a report",
        (Option(("out",), text, "folder to write", "DIR", default="iclglass-demo"), _FORCE),
        "iclglass demo --out results",
    ),
    Command(
        "derive",
        "the chain from Hamiltonian to saddle-point equations",
        (
            Option(("stage",), text, "one stage by name; all when not given", "NAME"),
            Option(("format",), text, "text or latex", "text|latex", default="text"),
        ),
        "iclglass derive --stage saddle-point",
    ),
    Command(
        "solve",
        "one point: order parameters, errors, free energy",
        (
            *_parameters(text, grids=False),
            _test_context(text, grids=False),
            *_finite_size(integer, "D"),
            Option(("digits",), integer, "solve with mpmath to this many digits", "COUNT"),
            _JSON,
        ),
        "iclglass solve --tau 2 --alpha 1 --lam 0.1 --json",
    ),
    Command(
        "sweep",
        "solve, or simulate, over a grid of one or more axes, into a netCDF file",
        (*(replace(option, waived_by="status") for option in _SWEEP), *_SIMULATED, _JSON),
        "iclglass sweep --tau 0.1:4:200 --alpha 0.2:20:100:log --lam 0.1 --out sweep.nc --plot sweep.png\n"
        "  iclglass sweep --simulate --tau 0.2:4:20 --alpha 0.5:4:10 --dimension 16 --workers 2 --out simulated.nc\n"
        "  iclglass sweep --status simulated.nc\n"
        "  (grids: START:STOP:COUNT, both ends included; :log for logarithmic)",
    ),
    Command(
        "phase-diagram",
        "a sweep of two axes with located lines, and its picture",
        (
            *_SWEEP,
            Option(
                ("line",),
                text,
                "line to locate, repeatable: interpolation-threshold, contrast=LEVEL, minimum=AXIS, peak=AXIS, "
                "best-ridge, context-saturation, crossover, memorisation-threshold "
                "(default: interpolation-threshold and contrast=0.8)",
                "LINE",
                repeat=True,
            ),
        ),
        "iclglass phase-diagram --tau 0.1:4:200 --alpha 0.2:20:100:log --line peak=tau --out phases.nc",
    ),
    Command(
        "instance",
        "one data set: means and variances of its Boltzmann measure, in SG's unscaled parameters",
        (
            *_DATA_SET,
            Option(("ridge0",), number, "ridge lambda0, >= 0, not scaled with D", "VALUE", required=True),
            Option(("beta",), number, "inverse temperature, > 0, not scaled with D", "VALUE", required=True),
            Option(("method",), text, "gamp, exact, tap or published (default: gamp)", "METHOD"),
            Option(("tolerance",), number, "largest relative residual (default: the method's)", "VALUE"),
            Option(("max-iterations",), integer, "most steps (default: the method's)", "COUNT"),
            Option(("damping",), number, "part of the old message kept, 0 <= d < 1 (default: the method's)", "VALUE"),
            Option(
                ("probes",),
                integer,
                "random probes for the variances of method exact at more than 4000 spins; 0: means only (default: 16)",
                "COUNT",
            ),
            Option(("float32",), text, "hold the data in single precision: half the memory while solving", switch=True),
            Option(
                ("blocks",),
                text,
                "draw the prompts in blocks where they are used, so that no machine holds them all; means only",
                switch=True,
            ),
            Option(("workers",), integer, "with --blocks: processes; the result does not depend on it", "COUNT"),
            Option(
                ("dask",),
                text,
                "with --blocks: a Dask cluster on this machine, or that of a scheduler",
                "local|ADDRESS",
            ),
            Option(("start",), text, "with --blocks: a solution written before, to go on from", "FILE.nc"),
            replace(_ANYWAY, help=f"with --blocks: {_ANYWAY.help}"),
            Option(
                ("out",),
                text,
                "netCDF file of means and variances to write; with --blocks an unfinished solve is kept beside it",
                "FILE.nc",
            ),
            Option(("plot",), text, "picture to write: means, variances, convergence", "FILE.png"),
            Option(("save-data",), text, "file to write the data set to", "FILE.npz|.nc"),
            _FORCE,
            _JSON,
        ),
        "iclglass instance --dimension 20 --context 100 --prompts 10000 --ridge0 0.01 --beta 100",
    ),
    Command(
        "sample",
        "draws from the Boltzmann measure of one data set, beside what is known of it exactly",
        (
            *_DATA_SET,
            Option(("ridge0",), number, "ridge lambda0, >= 0, not scaled with D", "VALUE", required=True),
            Option(("beta",), number, "inverse temperature, > 0, not scaled with D", "VALUE", required=True),
            Option(("method",), text, "exact, heat-bath, langevin, mala or hmc", "METHOD", default="exact"),
            Option(("draws",), integer, "draws of each chain, >= 4", "COUNT", default=1000),
            Option(("chains",), integer, "independent chains, >= 2", "COUNT", default=4),
            Option(("warmup",), integer, "steps before the first draw (default: from the spectrum)", "COUNT"),
            Option(("thin",), integer, "steps from one draw to the next (default: from the spectrum)", "COUNT"),
            Option(("step",), number, "step of langevin, mala, hmc (default: from the spectrum)", "VALUE"),
            Option(("out",), text, "netCDF file of the draws to write", "FILE.nc"),
            Option(("plot",), text, "picture to write: energies and their exact law, overlaps", "FILE.png"),
            _FORCE,
            _JSON,
        ),
        "iclglass sample --dimension 10 --context 50 --prompts 200 --ridge0 0.01 --beta 1000 --method hmc",
    ),
    Command(
        "train",
        "the linear attention layer trained on one data set, in SG's unscaled parameters",
        (
            *_DATA_SET,
            Option(("ridge0",), number, "ridge lambda0, >= 0, not scaled with D", "VALUE", required=True),
            Option(("parametrisation",), text, "merged: W; separate: W_k and W_q", "merged|separate", default="merged"),
            Option(("optimiser",), text, "gd, sgd (with --batch) or adam", "gd|sgd|adam", default="gd"),
            Option(("steps",), integer, "updates, >= 1", "COUNT", required=True),
            Option(("learning-rate",), number, "step size, > 0", "VALUE", required=True),
            Option(("batch",), integer, "prompts at a step, for sgd and adam (default for adam: all)", "COUNT"),
            Option(("tolerance",), number, "stop at this relative gradient; exit code 3 if not reached", "VALUE"),
            Option(("backend",), text, "numpy, or torch (extra iclglass[torch])", "numpy|torch", default="numpy"),
            Option(("out",), text, "file of the run: the same command resumes it", "FILE.npz"),
            Option(("plot",), text, "picture to write: energy and test error against the step", "FILE.png"),
            _FORCE,
            _ANYWAY,
            _JSON,
        ),
        "iclglass train --dimension 20 --context 100 --prompts 800 --ridge0 0.001 --steps 3000 --learning-rate 0.3",
    ),
    Command(
        "validate",
        "theory against finite-size Monte Carlo: extrapolation in 1/D, z-scores, a verdict with its power",
        (
            *(replace(option, required=False) for option in _parameters(number, grids=False)),
            _test_context(number, grids=False),
            *_SAMPLING,
            Option(
                ("suite",),
                text,
                "instead of one point the pre-registered points, coverage and negative controls, with a page: "
                "standard (2 minutes) or full (10)",
                "standard|full",
            ),
            Option(
                ("out",),
                text,
                "folder for table, picture and finished samples; the same command resumes",
                "DIR",
                default="iclglass-validation",
            ),
            _FORCE,
            _ANYWAY,
            _JSON,
        ),
        "iclglass validate --tau 2 --alpha 1 --lam 0.1 --dimension 16,24,32,48 --samples 32",
    ),
    Command(
        "reproduce",
        "figures of the paper (SG): simulated, theory over them, published data overlaid, a line of verdict",
        (
            Option(("scale",), text, "quick (seconds a figure) or full (the paper's)", "quick|full", default="quick"),
            Option(("published",), text, "root of your copy of the authors' repository, to overlay its data", "DIR"),
            Option(
                ("out",),
                text,
                "folder for data (.nc) and pictures (.png, .pdf); the same command resumes",
                "DIR",
                default="iclglass-figures",
            ),
            Option(("seed",), integer, "seed of all random numbers, >= 0", "SEED", default=0),
            _UNSEEN,
            _FORCE,
            _ANYWAY,
            _JSON,
        ),
        "iclglass reproduce fig-S1 --out figures    (fig-1 .. fig-4, fig-S1 .. fig-S8, or all)",
        ("figure", "fig-1 .. fig-4, fig-S1 .. fig-S8, or all"),
    ),
)
