"""YAML text -> its nodes, which know their lines: one mapping, merge keys resolved, every key there once."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bridge.config.problems import Place, Report

__all__ = ["Entry", "compose", "entries", "line_of", "read"]

MAX_BYTES = 1 << 20
"""What a ConfigMap holds at most; a wrong path (`/dev/zero`, a log) must not be parsed for minutes."""

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: ScalarNode
    value: Node


def line_of(node: Node) -> int:
    """The line where a node starts, counted from 1."""
    return int(node.start_mark.line) + 1


def read(path: Path, report: Report) -> str:
    """The text of a file.

    Raises:
        ConfigError: it cannot be had.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        report.fail(0, "", f"cannot be read ({reason}); name a YAML file that this user may read")
    if len(data) > MAX_BYTES:
        report.fail(0, "", "has more than 1 MiB, so it is hardly a configuration; name the right file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.fail(line, "", f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8")


def compose(text: str, report: Report) -> MappingNode:
    """The mapping that a text consists of.

    Raises:
        ConfigError: it consists of something else, or is no YAML.
    """
    try:
        # Looks through the whole text for characters that YAML forbids.
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        report.fail(line, "", f"the character U+{code:04X} is not allowed in YAML; remove it")
    try:
        documents = _documents(loader)
    except yaml.MarkedYAMLError as error:
        report.fail(*_syntax_problem(error))
    except RecursionError:
        report.fail(0, "", "is nested too deeply; a configuration has a handful of levels")
    # What PyYAML lets through of Python: chr() of an escape beyond Unicode, int() of an absurd %YAML version.
    except (ValueError, OverflowError):
        report.fail(loader.line + 1, "", "is not valid YAML; correct the escape or number in this line")
    finally:
        loader.dispose()
    return _only(documents, report)


def _documents(loader: yaml.SafeLoader) -> list[Node]:
    documents: list[Node] = []
    while loader.check_node():
        node = loader.get_node()
        # A lone `---` at the end, as templates leave it, begins a document that has nothing.
        if node is not None and not (_is_null(node) and documents):
            documents.append(node)
    return documents


def _only(documents: list[Node], report: Report) -> MappingNode:
    if not documents or (len(documents) == 1 and _is_null(documents[0])):
        report.fail(1, "", "the configuration is empty; write at least cluster, state, streams and sinks")
    first, *others = documents
    if others:
        begins = "a second YAML document begins here; write everything in one, without `---` between"
        report.fail(line_of(others[0]), "", begins)
    if not isinstance(first, MappingNode):
        report.fail(line_of(first), "", "is not a mapping; write keys, such as `cluster:`")
    return first


def _syntax_problem(error: yaml.MarkedYAMLError) -> tuple[int, str, str]:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 0
    problem = error.problem or error.context or "cannot be parsed"
    if "'\\t'" in problem:
        return line, "", "a tab cannot indent YAML; write spaces"
    context = f"{error.context}, " if error.context and error.problem else ""
    return line, "", f"is not valid YAML ({context}{problem}); correct it in this line or the one before"


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _NULL and not node.value


def entries(mapping: MappingNode, place: Place) -> dict[str, Entry]:
    """The keys of a mapping, those of `<<` merged in; what is doubled or no text is a problem."""
    return _Merge(place).entries(mapping)


class _Merge:
    """Resolves `<<` of one mapping; each mapping below it once, however often and deep it is merged."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._done: dict[int, dict[str, Entry]] = {}
        self._inside: set[int] = set()

    def entries(self, mapping: MappingNode) -> dict[str, Entry]:
        if id(mapping) not in self._done:
            self._inside.add(id(mapping))
            self._done[id(mapping)] = self._resolve(mapping)
            self._inside.remove(id(mapping))
        return self._done[id(mapping)]

    def _resolve(self, mapping: MappingNode) -> dict[str, Entry]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in mapping.value:
            if key.tag == _MERGE:
                # What was merged first wins, and what is written out wins over all.
                merged = self._merged(value) | merged
            elif not isinstance(key, ScalarNode):
                here = Place(self._place.report, line_of(key), self._place.path)
                here.wrong("a key is a list or a mapping; write a name")
            elif key.value in own:
                first = line_of(own[key.value].key)
                doubled = self._place.key(key.value, line_of(key))
                doubled.wrong(f"is there already, in line {first}; remove one of the two")
            else:
                own[key.value] = Entry(key, value)
        return merged | own

    def _merged(self, value: Node) -> dict[str, Entry]:
        here = self._place.key("<<", line_of(value))
        found: dict[str, Entry] = {}
        for source in value.value if isinstance(value, SequenceNode) else [value]:
            if not isinstance(source, MappingNode):
                here.wrong("merges something that is no mapping; write `<<: *anchor` of a mapping")
            elif id(source) in self._inside:
                here.wrong("merges a mapping into itself; remove it")
            else:
                found = self.entries(source) | found
        return found
