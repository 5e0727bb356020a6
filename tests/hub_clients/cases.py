"""The matrix as parameters of tests."""

import pytest

from tests.hub_clients.environments import MATRIX, QUICK, Environment


def case(environment: Environment) -> object:
    """All but a few take long: each has to be installed once, and then does a lot."""
    marks = [] if environment in QUICK else [pytest.mark.thorough]
    return pytest.param(environment, id=environment.name, marks=marks)


EVERY_CLIENT = [case(environment) for environment in MATRIX]
EVERY_CLIENT_WITH_XET = [case(environment) for environment in MATRIX if environment.xet]
