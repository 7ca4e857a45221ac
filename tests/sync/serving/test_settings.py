"""[network.serving]: from the file to the pace of answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckb_node.config import Config, parse_config
from ckb_node.runtime.settings import ConfigError
from ckb_node.sync.serving.pace import LIGHT_CLIENTS
from ckb_node.sync.serving.settings import ServingSection


def section(text: str) -> ServingSection:
    return parse_config(f"[network.serving]\n{text}").network.serving


def test_the_defaults() -> None:
    serving = section("")
    assert serving.light_client_limits() == LIGHT_CLIENTS
    assert serving.upload(0.0) is None


def test_each_key() -> None:
    serving = section("max_upload_rate = 5\nlight_client_rate = 7\nlight_client_peer_rate = 3\nlight_client_time = 4")
    limits = serving.light_client_limits()
    assert (limits.rate, limits.peer_rate, limits.share, limits.peer_share) == (7, 3, 0.04, 0.04)
    assert (limits.burst, limits.peer_burst) == (112, 48)
    upload = serving.upload(0.0)
    assert upload is not None
    assert (upload.rate, upload.burst) == (5, 80)


@pytest.mark.parametrize("line", ["light_client_time = 0", "light_client_time = 101", "light_client_rate = 0"])
def test_values_that_are_refused(line: str) -> None:
    with pytest.raises(ConfigError):
        section(line)


@pytest.mark.parametrize(
    ("text", "builds"),
    [
        ("", True),
        ("[block_filters]\nenabled = false", False),
        ('[network]\nsupport_protocols = ["Ping"]', False),
        ('[block_filters]\nenabled = true\n[network]\nsupport_protocols = ["Ping"]', True),
    ],
)
def test_where_filters_are_built(text: str, builds: bool) -> None:
    assert Config(Path("/node"), parse_config(text)).builds_filters is builds
