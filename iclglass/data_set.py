"""The data set of a command: drawn from its options, or read from the user's file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iclglass.numerics.arguments import check_count
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.last_row import LastRow

if TYPE_CHECKING:
    import numpy as np

    from iclglass.numerics.instance.data import Instance

__all__ = ["DataSet", "data_set", "drawn_layer"]

_SIZES = ("dimension", "context", "prompts")
_DRAWN = (*_SIZES, "label_noise")


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set, the parameters to report, and its law: context, label_noise, norm, last_feature
    and last_row; None for a user's prompts."""

    instance: "Instance"
    parameters: Mapping[str, Any]
    law: Mapping[str, Any] | None


def data_set(values: Mapping[str, Any], rng: "np.random.Generator | None" = None) -> DataSet:
    """Draw it, by default from the stream of the seed itself, or read it.

    Raises:
        ParameterError: a missing size, a bad value, sizes given for a file.
        OutputError: the file cannot be read.
    """
    seed = check_count("seed", values["seed"], minimum=0)
    if values["data"] is not None:
        return _read(values)
    import numpy as np

    from iclglass.validation.prompts import draw_prompts

    for name in _SIZES:
        if values[name] is None:
            raise ParameterError(f"--{name} is required, or --data FILE for a data set of your own")
    sizes = {name: values[name] for name in _SIZES}
    law = {
        "context": values["context"],
        "label_noise": 0.0 if values["label_noise"] is None else values["label_noise"],
        "norm": values["norm"] or "N",
        **drawn_layer(values).to_dict(),
    }
    instance = draw_prompts(**sizes | law, rng=np.random.default_rng(seed) if rng is None else rng)
    return DataSet(instance, {**sizes, **law, "seed": seed}, law)


def drawn_layer(values: Mapping[str, Any]) -> LastRow:
    """The layer of a data set to draw."""
    given = {name: values[name] for name in ("last_feature", "last_row") if values[name] is not None}
    return LastRow(**given)


def _read(values: Mapping[str, Any]) -> DataSet:
    from iclglass.numerics.instance.storage import read_instance

    unused = [f"--{name.replace('_', '-')}" for name in _DRAWN if values[name] is not None]
    if unused:
        raise ParameterError(
            f"--data is a data set of your own: leave out {', '.join(unused)}, which describe one to draw"
        )
    options = {name: values[name] for name in ("norm", "last_feature", "last_row")}
    instance, built = read_instance(values["data"], **options)
    size = {"dimension": instance.dimension, "prompts": instance.prompts}
    return DataSet(instance, {"data": values["data"], **size, **built, "seed": values["seed"]}, None)
