"""The data set of a command: drawn from its options, or read from the user's file; and the theory of its law."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iclglass.cli.kinds import FILE, INTEGER, NUMBER
from iclglass.cli.options import LAYER, NORM, SEED, given, option
from iclglass.numerics.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np

    from iclglass.numerics.instance.data import Instance
    from iclglass.validation.population import PromptMoments

__all__ = ["BETA", "DATA_SET", "RIDGE0", "Source", "data_set", "drawn", "finite_theory"]

_SIZES = ("dimension", "context", "prompts")
_BUILT = ("norm", "last_feature", "last_row")

DATA_SET = (
    option("--dimension D", INTEGER, "token dimension D of a data set to draw, >= 2", required=True, waived_by="data"),
    option("--context N", INTEGER, "labelled tokens N in a prompt, >= 1", required=True, waived_by="data"),
    option("--prompts P", INTEGER, "prompts P, each with its own task, >= 1", required=True, waived_by="data"),
    option("--label-noise --rho", NUMBER, "variance of the label noise, >= 0", default="0"),
    NORM,
    *LAYER,
    SEED,
    option(
        "--data FILE.npz|.nc",
        FILE,
        "a data set of your own instead: arrays context, query, label, or tokens, labels, query, label",
        is_eager=True,
    ),
)
RIDGE0 = option("--ridge0", NUMBER, "ridge lambda0, >= 0, not scaled with D", required=True)
BETA = option("--beta", NUMBER, "inverse temperature, > 0, not scaled with D", required=True)


@dataclass(frozen=True, eq=False)
class Source:
    """A data set, the parameters to report, and its law: arguments of `gaussian_moments`, or None for a user's."""

    instance: "Instance"
    parameters: Mapping[str, Any]
    law: Mapping[str, Any] | None

    def moments(self) -> "PromptMoments | None":
        """Return the moments of new prompts where the law is known."""
        import numpy as np

        from iclglass.validation.population import gaussian_moments

        return None if self.law is None else gaussian_moments(np.ones(self.instance.dimension), **self.law)

    def theory(self, *, ridge0: float, beta: float) -> dict[str, float]:
        """Return the finite-size theory of the law, by quantity; nothing where there is no law or no theory."""
        if self.law is None:
            return {}
        return finite_theory(self.instance.dimension, self.instance.prompts, self.law, ridge0=ridge0, beta=beta)


def data_set(values: Mapping[str, Any], rng: "np.random.Generator | None" = None) -> Source:
    """Draw it, by default from the stream of the seed itself, or read it.

    Raises
    ------
    ParameterError
        A bad value, sizes given for a file.
    OutputError
        The file cannot be read.
    """
    from iclglass.numerics.arguments import check_count

    seed = check_count("seed", values["seed"], minimum=0)
    if values["data"] is not None:
        return _read(values)
    import numpy as np

    from iclglass.validation.prompts import draw_prompts

    sizes, law = drawn(values)
    instance = draw_prompts(**sizes | law, rng=np.random.default_rng(seed) if rng is None else rng)
    return Source(instance, {**sizes, **law, "seed": seed}, law)


def drawn(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sizes of a data set to draw, and its law."""
    from iclglass.numerics.last_row import LastRow

    layer = LastRow(values["last_feature"], values["last_row"])
    law = {name: values[name] for name in ("context", "label_noise", "norm")} | layer.to_dict()
    return {name: values[name] for name in _SIZES}, law


def _read(values: Mapping[str, Any]) -> Source:
    from iclglass.numerics.instance.storage import read_instance

    if unused := given(*_SIZES, "label_noise"):
        raise ParameterError(
            f"--data is a data set of your own: leave out {', '.join(unused)}, which describe one to draw"
        )
    options = {name: values[name] if given(name) else None for name in _BUILT}
    instance, built = read_instance(values["data"], **options)
    size = {"dimension": instance.dimension, "prompts": instance.prompts}
    return Source(instance, {"data": values["data"], **size, **built, "seed": values["seed"]}, None)


def finite_theory(
    dimension: int, prompts: int, law: Mapping[str, Any], *, ridge0: float, beta: float
) -> dict[str, float]:
    """Return the finite-size theory of data sets of a law, by quantity; nothing below its least dimension."""
    from iclglass.numerics.finite_dimension import MINIMUM_DIMENSION
    from iclglass.numerics.finite_size import solve_finite
    from iclglass.numerics.sizes import from_unscaled

    if dimension < MINIMUM_DIMENSION:
        return {}
    options = dict(law)
    unscaled = {"prompts": prompts, "context": options.pop("context"), "ridge0": ridge0, "beta": beta}
    solution = solve_finite(dimension=dimension, **from_unscaled(dimension, **unscaled), **options)
    names = ("m", "q", "q_self", "contrast", "e_train", "e_icl", "free_energy")
    theory = {name: float(getattr(solution, name)) for name in names}
    return theory | {"uniqueness": theory["q"] / theory["q_self"]}
