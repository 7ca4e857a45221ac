"""Small sets of names in little memory: most entries have one parent or child or none, and a set takes 216 bytes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)

MOST_IN_A_TUPLE = 8

Links = tuple[Name, ...] | set[Name]
"""Distinct names; few as a tuple, many as a set."""


def with_link(links: Links[Name], name: Name) -> Links[Name]:
    """The links with a name, which may be there already."""
    if isinstance(links, set):
        links.add(name)
        return links
    if name in links:
        return links
    return (*links, name) if len(links) < MOST_IN_A_TUPLE else {*links, name}


def without_link(links: Links[Name], name: Name) -> Links[Name]:
    """The links without a name, which need not be there."""
    if not isinstance(links, set):
        return tuple(each for each in links if each != name)
    links.discard(name)
    return links if len(links) > MOST_IN_A_TUPLE // 2 else tuple(links)


def discard_member(sets: dict[bytes, set[bytes]], key: bytes, member: bytes) -> None:
    """Take a member out of one of the sets; empty sets go."""
    members = sets.get(key)
    if members is not None:
        members.discard(member)
        if not members:
            del sets[key]
