"""Sizes and durations as text: `16Mi` and `1h30m`, both ways. No I/O here."""

import re

__all__ = [
    "DURATION_PATTERN",
    "SIZE_PATTERN",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
]

_BYTES: dict[str, int] = {
    "": 1,
    **{suffix: 1000**power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": 1024**power for power, suffix in enumerate("KMGTPE", start=1)},
}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

# The lengths keep a number of thousands of digits from costing anything.
SIZE_PATTERN = r"[0-9]{1,18}(\.[0-9]{1,9})?([kMGTPE]|[KMGTPE]i)?"
DURATION_PATTERN = r"([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h))+"

_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?([kMGTPE]|[KMGTPE]i)?")
_DURATION = re.compile(DURATION_PATTERN)
_DURATION_PART = re.compile(r"([0-9.]+)(ms|s|m|h)")


def parse_size(text: str) -> int | None:
    """Bytes of a Kubernetes quantity (`1Gi`, `1.5Mi`, `500M`, `4096`), rounded up; None when it is none.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/, without
    exponents and fractions of a byte, which nobody means.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    whole, fraction, suffix = match[1], match[2] or "", match[3] or ""
    scaled = int(whole + fraction) * _BYTES[suffix]
    unit: int = 10 ** len(fraction)
    return -(-scaled // unit)


def format_size(size: int) -> str:
    """The shortest exact way to write `size` bytes."""
    for suffix, factor in reversed(_BYTES.items()):
        if suffix.endswith("i") and size >= factor and size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def parse_duration(text: str) -> float | None:
    """Seconds of a duration as Go and Kubernetes write it (`500ms`, `10s`, `1h30m`); None when it is none."""
    if _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def format_duration(seconds: float) -> str:
    """A short way to write `seconds`."""
    if seconds < 1:
        return f"{seconds * 1000:.12g}ms"
    for unit, factor in (("h", 3600), ("m", 60)):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:.12g}{unit}"
    return f"{seconds:.12g}s"
