"""A part that many keys have in common."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from builder.digest import digest_json

__all__ = ["Part", "digest_of"]

_TAG = "builder.part.v1"


class Part(dict[str, Any]):
    """What is the same for many actions, such as the digests of our code: encoded once for all their keys.

    It must not be changed any more once its digest was asked for.
    """

    @cached_property
    def digest(self) -> str:
        return digest_json(_TAG, self)


def digest_of(part: Mapping[str, Any]) -> str:
    """Return the digest of a part; equal ones have the same, be they a Part or not."""
    return part.digest if isinstance(part, Part) else digest_json(_TAG, part)
