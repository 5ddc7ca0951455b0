"""The default derivation, made once."""

import pytest

from iclglass.replica.derivation import derive


@pytest.fixture(scope="session")
def derivation():
    return derive()
