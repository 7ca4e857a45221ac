"""Order of versions, as in section 11 of Semantic Versioning 2.0.0."""

from __future__ import annotations

from itertools import pairwise

import pytest

from network.protocols.alert.versions import SoftwareVersion

ORDER = [
    "0.0.4",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1-0",
    "1.0.1-00a",
    "1.0.1",
    "1.10.0-2",
    "1.10.0-10",
    "2.0.0",
]


def test_each_comes_before_the_next() -> None:
    versions = [SoftwareVersion.parse(text) for text in ORDER]
    assert None not in versions
    for lower, higher in pairwise(versions):
        assert lower is not None
        assert higher is not None
        assert lower < higher


def test_builds_are_the_same_version() -> None:
    assert (
        SoftwareVersion.parse("1.2.3-a+b.1") == SoftwareVersion.parse("1.2.3-a+c") == SoftwareVersion.parse("1.2.3-a")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "01.2.3",
        "1.2.3-",
        "1.2.3-a..b",
        "1.2.3-01",
        "v1.2.3",
        "1.2.3 ",
        "1.2.\u0663",
        "1" * 200,
    ],
)
def test_what_is_no_version(text: str) -> None:
    assert SoftwareVersion.parse(text) is None
