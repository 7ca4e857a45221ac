"""Everything that engines must agree on runs on each of them."""

import pytest


@pytest.fixture(params=["reference", "wasm"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
