"""Grids for tests."""

from iclglass.validation.sweeping.grid import make_grid

_OPTIONS = ("draws", "steps", "learning_rate", "tolerance")
_SETTINGS = {"road": "simulation", "samples": 2, "seed": 0, "theory": False, "method": None}


def grid_of(**given):
    """A grid with the defaults of `sweep_simulated`, but two data sets a point and no theory."""
    settings = _SETTINGS | {name: given.pop(name) for name in _SETTINGS if name in given}
    return make_grid(given, options={name: given.pop(name, None) for name in _OPTIONS}, **settings)
