"""A small valid configuration to start from, and what is wrong with a text."""

from bridge.config import ConfigError, loads

LINES = {
    "cluster": "cluster: {name: c1}",
    "state": "state: {path: /s}",
    "streams": "streams: [{name: pods, resource: pods}]",
    "sinks": "sinks: [{name: out, type: lines, path: out.jsonl}]",
}
"""Line 1 to 4; what a test adds begins in line 5."""


def text(**changed: str) -> str:
    """The valid configuration with whole lines changed ("" leaves one out) or, under `more`, added."""
    more = changed.pop("more", "")
    kept = {**LINES, **changed}
    return "\n".join([*filter(None, kept.values()), more]) + "\n"


def problems(source: str, *, check_files: bool = False) -> list[str]:
    """What is wrong with a text, each as `line: key: message`."""
    try:
        loads(source, "c.yaml", check_files=check_files)
    except ConfigError as error:
        return [line.removeprefix("c.yaml:") for line in str(error).split("\n")]
    return []
