"""Comparing resourceVersions of one resource (KEP-5504: decimal, comparable within a resource)."""

__all__ = ["newer"]


def newer(left: str, right: str) -> bool:
    """Whether `left` is a later revision than `right`.

    False when either is not decimal: such servers promise equality only.
    """
    if len(left) == len(right):
        return left > right and left.isdecimal() and right.isdecimal()
    return len(left) > len(right) and left.isdecimal() and right.isdecimal()
