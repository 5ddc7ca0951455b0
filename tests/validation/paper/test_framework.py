"""What all figures share: reading published data, resuming, refusals. A small figure stands in for the paper's."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import iclglass.validation.paper.reproduce as module
from iclglass.numerics.errors import OutputError
from iclglass.validation.paper.figure import Judged, PaperFigure, Verdict
from iclglass.validation.paper.published import Published, of_shape, read_published
from iclglass.validation.paper.reproduce import reproduce


class Stand:
    """A figure of two parts that counts its simulations."""

    def __init__(self):
        self.made = []

    def part(self, key, seed):
        self.made.append(key)
        return xr.Dataset({"x": ("i", np.random.default_rng((seed, len(key))).normal(size=3))})

    def simulate(self, given, seed, compute):
        first, second = compute({name: partial(self.part, name, seed) for name in ("one", "three")})
        return xr.Dataset({"x": ("i", first.x.values + second.x.values)})

    def figure(self):
        return PaperFigure(
            name="fig-0",
            title="a stand-in",
            parameters=lambda scale: {"size": 3, "pair": (1, 2)},
            simulate=self.simulate,
            draw=lambda data, published: Figure(),
            judge=lambda data, published: Verdict(
                f"{float(data.x.sum()):.12g} {sorted(published)}", (), (Judged("x", False, 0.1),)
            ),
            published=("fig-0/data/a.npy", "fig-0/data/b.npy"),
        )


@pytest.fixture
def stand(monkeypatch):
    made = Stand()
    monkeypatch.setattr(module, "get", lambda name: made.figure())
    return made


def test_files_are_made_and_read_again(stand, tmp_path):
    first = reproduce("fig-0", out=tmp_path, seed=4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig-0.nc", "fig-0.pdf", "fig-0.png"]
    assert reproduce("fig-0", out=tmp_path, seed=4) == first
    assert stand.made == ["one", "three"]
    assert reproduce("fig-0", out=tmp_path, seed=4, force=True) == first
    assert len(stand.made) == 4


def test_a_picture_of_someone_else_is_not_replaced(stand, tmp_path):
    (tmp_path / "fig-0.png").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        reproduce("fig-0", out=tmp_path)
    assert not stand.made
    assert (tmp_path / "fig-0.png").read_text() == "mine"


def test_published_files_are_read_and_missing_or_damaged_ones_named(stand, tmp_path):
    root = tmp_path / "copy"
    (root / "fig-0/data").mkdir(parents=True)
    np.save(root / "fig-0/data/a.npy", np.ones(3))
    (tmp_path / "out").mkdir()
    verdict = reproduce("fig-0", out=tmp_path / "out", published=root)
    assert "a.npy" in verdict.sentence
    assert verdict.remarks == ("published fig-0/data/b.npy is missing and left out",)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs", "pickle", "text"])
def test_damaged_files(tmp_path, content):
    file = tmp_path / "fig-0/data/a.npy"
    file.parent.mkdir(parents=True)
    if content == "pickle":
        np.save(file, np.array([{}, None], dtype=object), allow_pickle=True)
    elif content == "text":
        np.save(file, np.array(["a"]))
    else:
        file.write_bytes(content)
    found = read_published(tmp_path, ["fig-0/data/a.npy"])
    assert not found
    assert "fig-0/data/a.npy is damaged" in found.remarks["fig-0/data/a.npy"]


@pytest.mark.parametrize(
    ("array", "arranged", "said"),
    [
        (np.arange(6.0).reshape(2, 3), True, None),
        (np.arange(6.0).reshape(1, 2, 3), True, None),
        (np.arange(6.0).reshape(2, 3).T, True, "is taken as transposed: found shape (3, 2) where (2, 3) was expected"),
        (np.arange(6), True, "is read row by row: found shape (6,) where (2, 3) was expected"),
        (np.zeros((2, 4)), False, "is left out: expected shape (2, 3), found (2, 4)"),
        (np.zeros(()), False, "is left out: expected shape (2, 3), found ()"),
        (np.full((2, 3), np.nan), False, "is left out: 6 of its 6 numbers are not finite"),
    ],
)
def test_arrays_of_another_shape_are_put_right_or_named(array, arranged, said):
    published = Published()
    published["a.npy"] = array
    found = of_shape(published, "a.npy", (2, 3))
    assert (found is not None) is arranged
    if arranged:
        assert np.array_equal(found, np.arange(6.0).reshape(2, 3))
    assert published.remarks == ({} if said is None else {"a.npy": f"published a.npy {said}"})
    assert of_shape(published, "none.npy", (2, 3)) is None
    if np.isnan(array).any():
        assert of_shape(published, "a.npy", (2, 3), finite=False) is not None


def test_a_misshapen_file_is_named_in_the_verdict(stand, tmp_path, monkeypatch):
    root = tmp_path / "copy"
    (root / "fig-0/data").mkdir(parents=True)
    for name in "ab":
        np.save(root / f"fig-0/data/{name}.npy", np.ones(3))
    (tmp_path / "out").mkdir()

    def judge(data, published):
        of_shape(published, "fig-0/data/a.npy", (4,))
        return Verdict("", (), ())

    figure = replace(stand.figure(), judge=judge)
    monkeypatch.setattr(module, "get", lambda name: figure)
    verdict = reproduce("fig-0", out=tmp_path / "out", published=root)
    assert verdict.remarks == ("published fig-0/data/a.npy is left out: expected shape (4,), found (3,)",)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="authors' layout"):
        read_published(tmp_path, [])
    with pytest.raises(OutputError, match="not a folder"):
        read_published(tmp_path / "none", [])
