"""Comparing resourceVersions of one resource. No I/O here.

They are decimal numbers that only grow (KEP-5504). A few aggregated servers use other strings; of those
only equality is known.
"""

from typing import Final

__all__ = ["compare", "is_revision", "newer"]

_LONGEST: Final = 39
"""Digits of 2^128: the longest revision that the reference implementation accepts."""


def is_revision(rv: str) -> bool:
    """Whether `rv` is a number as KEP-5504 demands: digits, no sign, no leading zero, not "0"."""
    return rv.isdigit() and rv.isascii() and rv[0] != "0" and len(rv) <= _LONGEST


def compare(left: str, right: str) -> int | None:
    """Negative, zero or positive as `left` is older, the same or newer; None when only equality is known."""
    if left == right:
        return 0
    if not (is_revision(left) and is_revision(right)):
        return None
    return 1 if (len(left), left) > (len(right), right) else -1


def newer(left: str, right: str) -> bool:
    """Whether `left` is known to be a later revision than `right`."""
    return compare(left, right) == 1
