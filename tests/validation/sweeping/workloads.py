"""Grids for tests."""

from iclglass.validation.sweeping.grid import make_grid


def grid_of(**given):
    """A grid with the defaults of `sweep_simulated`."""
    settings = {
        "dimension": None,
        "norm": "N",
        "road": "simulation",
        "samples": 2,
        "seed": 0,
        "theory": False,
        "method": None,
    }
    settings |= {name: given.pop(name) for name in settings if name in given}
    names = ("draws", "steps", "learning_rate", "tolerance")
    options = {name: given.pop(name, None) for name in names}
    return make_grid(given, options=options, **settings)
