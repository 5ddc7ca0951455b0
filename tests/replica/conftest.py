"""The default derivation, made and proved once."""

import pytest

from iclglass.replica.derivation import derive


@pytest.fixture(scope="session")
def derivation():
    return derive().prove()
