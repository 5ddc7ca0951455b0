"""A data set from a user's arrays: what is kept, what is converted, what is refused and with which words."""

import numpy as np
import pytest

import iclglass.numerics.instance.data as data_module
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.data import Instance

RTOL = 1e-13  # two orders of summation in double precision
SINGLE = 1e-6  # of single precision


def normal(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def arrays(prompts: int = 4, dimension: int = 3, dtype: type = np.float64) -> dict[str, np.ndarray]:
    given = normal(context=(prompts, dimension + 1), query=(prompts, dimension), label=(prompts,))
    return {name: array.astype(dtype) for name, array in given.items()}


def tokens() -> dict[str, np.ndarray]:
    return normal(tokens=(5, 4, 3), labels=(5, 4), query=(5, 3), label=(5,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint64, np.float16, np.longdouble])
def test_right_arrays_are_kept_without_a_copy_and_others_become_float64(dtype):
    given = {name: np.abs(3 * array).astype(dtype) for name, array in arrays().items()}
    instance = Instance(**given)
    for name, array in given.items():
        found = getattr(instance, name)
        np.testing.assert_array_equal(found, array)
        assert found is array if dtype in (np.float32, np.float64) else found.dtype == np.float64


def test_one_precision_for_all_and_contiguous():
    given = arrays(dtype=np.float32)
    given["label"] = given["label"].astype(np.float64)
    given["query"] = np.asfortranarray(given["query"])
    instance = Instance(**given)
    for name in given:
        assert getattr(instance, name).dtype == np.float64
        assert getattr(instance, name).flags.c_contiguous
    assert Instance([[1, 2]], [[3]], [4]).context.dtype == np.float64  # lists will do


@pytest.mark.parametrize(
    ("name", "index", "value", "message"),
    [
        ("context", (2, 3), np.nan, r"context\[2, 3\] is nan: every entry must be finite"),
        ("query", (0, 1), np.inf, r"query\[0, 1\] is inf"),
        ("label", (3,), -np.inf, r"label\[3\] is -inf"),
    ],
)
def test_entries_that_are_not_finite_are_named(name, index, value, message):
    given = arrays()
    given[name][index] = value
    with pytest.raises(ParameterError, match=message):
        Instance(**given)
    given[name].flat[-1] = np.nan
    given[name].flat[0] = np.nan
    with pytest.raises(ParameterError, match=r"\[0(, 0)?\] is nan \([12] more like it\)"):
        Instance(**given)


@pytest.mark.parametrize(
    "shapes",
    [
        *[(context, (4, 3), (4,)) for context in ((4, 2), (4, 5), (5, 4), (4, 4, 1))],
        *[((4, 4), (4, 3), label) for label in ((4, 1), (3,))],
        ((4,), (4,), (4,)),
        ((), (), ()),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes):
    message = r"shapes of prompts do not fit: context \(.*want context \(P, D\+1 or D\)"
    with pytest.raises(ParameterError, match=message):
        Instance(*map(np.zeros, shapes))


@pytest.mark.parametrize(("prompts", "dimension", "letter"), [(0, 3, "P"), (4, 0, "D"), (0, 0, "P")])
def test_nothing_is_no_data_set(prompts, dimension, letter):
    with pytest.raises(ParameterError, match=f"{letter} = 0: a data set needs at least one"):
        Instance(**arrays(prompts, dimension))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(4, complex), "label must be a real number .* not complex128; pass its real part"),
        (np.zeros(4, bool), "label must be a real number or an array of real numbers, not bool"),
        (np.array(["a"] * 4), "label must be a real number or an array of real numbers, not <U1"),
        (np.array([1, None, 2, 3]), "label must be a real number .* not NoneType None.* among them"),
        (np.zeros(4, "M8[s]"), "label must be a real number or an array of real numbers, not datetime64"),
        (np.zeros(4, [("a", float)]), "label must be a real number"),
        ([[1, 2], [3]], "label must be a number or a rectangular array of numbers: .*inhomogeneous"),
        (np.ma.masked_array(np.zeros(4), mask=[1, 0, 0, 0]), "label must be .* not a masked array with masked entries"),
        (None, "label must be a real number or an array of real numbers"),
    ],
)
def test_what_is_no_real_array_is_refused(value, message):
    with pytest.raises(ParameterTypeError, match=message):
        Instance(**{**arrays(), "label": value})


def test_tokens_are_summed_as_their_definition(monkeypatch):
    given = tokens()
    slow = np.zeros((5, 4))
    for prompt, k in np.ndindex(5, 4):
        slow[prompt, :3] += given["labels"][prompt, k] * given["tokens"][prompt, k]
        slow[prompt, 3] += given["labels"][prompt, k] ** 2
    np.testing.assert_allclose(Instance.from_tokens(**given).context, slow / 4, RTOL)
    np.testing.assert_allclose(Instance.from_tokens(**given, norm="N+1").context, slow / 5, RTOL)
    monkeypatch.setattr(data_module, "_CHUNK_ELEMENTS", 2 * 4 * 3)  # two prompts a chunk, then one
    np.testing.assert_allclose(Instance.from_tokens(**given).context, slow / 4, RTOL)
    single = Instance.from_tokens(**{name: array.astype(np.float32) for name, array in given.items()})
    assert single.context.dtype == np.float32
    np.testing.assert_allclose(single.context, slow / 4, SINGLE, SINGLE)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": np.zeros((5, 3))}, ValueError, r"labels \(5, 3\).*want tokens \(P, N, D\), labels \(P, N\)"),
        ({"tokens": np.zeros((5, 4, 2))}, ValueError, "shapes of prompts do not fit"),
        ({"tokens": np.zeros((5, 0, 3)), "labels": np.zeros((5, 0))}, ValueError, "N = 0: a data set needs"),
        ({"tokens": np.full((5, 4, 3), np.nan)}, ValueError, r"tokens\[0, 0, 0\] is nan \(59 more like it\)"),
        ({"labels": np.zeros((5, 4), complex)}, TypeError, "labels must be a real number"),
        ({"norm": "n"}, ValueError, r"norm must be one of N, N\+1"),
    ],
)
def test_bad_tokens_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Instance.from_tokens(**{**tokens(), **change})


def test_single_precision_halves_the_memory_or_says_why_not():
    instance = Instance(**arrays())
    single = instance.as_float32()
    for name in ("context", "query", "label"):
        assert 2 * getattr(single, name).nbytes == getattr(instance, name).nbytes
        np.testing.assert_allclose(getattr(single, name), getattr(instance, name), SINGLE)
    with pytest.raises(ParameterError, match=r"label\[1\] is inf"):
        Instance(**{**arrays(), "label": np.array([0.0, 1e300, 0.0, 0.0])}).as_float32()
