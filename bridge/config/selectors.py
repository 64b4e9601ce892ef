"""The syntax of label selectors and field selectors, as the API server reads them. No I/O here.

What passes here is never answered with 400 for its syntax, and what does not pass would be, or selects in a
way that nobody means (`app in ()`); whether a kind supports a field is the server's to say. Sources: the
pages "Labels and Selectors" and "Field Selectors" of the Kubernetes documentation; the edges (empty values,
`in` as a key, a trailing comma) as the tests see them on a real API server.
"""

import re
from collections.abc import Iterator

__all__ = ["field_selector_problem", "label_selector_problem"]

_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^ \t\r\n=!(),<>]+)|\Z)")
_NAME = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_NAME_LENGTH = 63
_PREFIX_LENGTH = 253
_INT64 = 1 << 63
_INT64_DIGITS = 19

_FIELD_TERM = re.compile(r"(?:[^\\,]|\\.)+", re.DOTALL)
_FIELD = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)
_FIELD_NAME = re.compile(r"[^\s\\()!=,]+")
_FIELD_VALUE = re.compile(r"(?:[^\\,=]|\\[\\,=])*", re.DOTALL)


class _SelectorError(ValueError):
    """What is wrong with a selector and what to write."""


def label_selector_problem(text: str) -> str | None:
    """What is wrong with a label selector (equality- and set-based), as one sentence, or None."""
    try:
        _LabelSelector(text).parse()
    except _SelectorError as error:
        return str(error)
    return None


def field_selector_problem(text: str) -> str | None:
    """What is wrong with a field selector, as one sentence, or None."""
    backslashes = len(text) - len(text.rstrip("\\"))
    if backslashes % 2:
        return r"it ends with a single backslash; write `\\` for a backslash in a value"
    for term in _FIELD_TERM.findall(text):
        problem = _field_term_problem(term)
        if problem is not None:
            return problem
    return None


def _field_term_problem(term: str) -> str | None:
    match = _FIELD.fullmatch(term)
    if match is None:
        return f"`{term}` has no operator; write `field=value` or `field!=value`, as status.phase!=Succeeded"
    field, _, value = match.groups()
    if _FIELD_NAME.fullmatch(field) is None:
        return f"`{field}` is not a field; write a path without spaces, such as `metadata.name`"
    if _FIELD_VALUE.fullmatch(value) is None:
        return rf"`{value}` has a `=` or `\` that is not escaped; write `\=` or `\\`"
    return None


class _LabelSelector:
    """A parser of the grammar `requirement, requirement, ...`."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0

    def parse(self) -> None:
        if self._peek() == "":
            return
        while True:
            self._requirement()
            word = self._take()
            if word == "":
                return
            if word != ",":
                raise _SelectorError(
                    f"{_found(word)} where a `,` or the end belongs; write `,` between requirements"
                )

    def _requirement(self) -> None:
        negated = self._peek() == "!"
        if negated:
            self._take()
        self._key(self._take())
        if negated or self._peek() in {"", ","}:
            return
        operator = self._take()
        match operator:
            case "in" | "notin":
                self._values(operator)
            case "=" | "==" | "!=":
                self._value()
            case "<" | ">":
                self._integer(operator)
            case _:
                raise _SelectorError(f"`{operator}` is not an operator; write =, ==, !=, in, notin, < or >")

    def _key(self, key: str) -> None:
        if not _is_word(key):
            raise _SelectorError(
                f"{_found(key)} where a label belongs; write `label=value`, `label` or `!label`"
            )
        prefix, slash, name = key.rpartition("/")
        if slash and (_PREFIX.fullmatch(prefix) is None or len(prefix) > _PREFIX_LENGTH):
            raise _SelectorError(
                f"`{prefix}` is not a label prefix; write a DNS name, such as app.kubernetes.io/name"
            )
        if _NAME.fullmatch(name) is None or len(name) > _NAME_LENGTH:
            raise _SelectorError(
                f"`{name}` is not a label; write at most 63 letters, digits, `-`, `_` and `.`, "
                "a letter or digit first and last"
            )

    def _value(self) -> str:
        if self._peek() in {"", ","}:
            return ""
        value = self._take()
        if not _is_word(value):
            raise _SelectorError(f"{_found(value)} where a value belongs; write `label=value`")
        return _checked_value(value)

    def _integer(self, operator: str) -> None:
        value = self._value()
        if not value.isdecimal() or len(value.lstrip("0")) > _INT64_DIGITS or int(value) >= _INT64:
            raise _SelectorError(f"`{value}` is not an integer; write one behind `{operator}`")

    def _values(self, operator: str) -> None:
        opening = self._take()
        if opening != "(":
            raise _SelectorError(f"{_found(opening)} where a `(` belongs; write `{operator} (a, b)`")
        if self._peek() == ")":
            raise _SelectorError(f"`{operator} ()` has no value; write `{operator} (a, b)`")
        while True:
            if _is_word(self._peek()):
                _checked_value(self._take())
            word = self._take()
            if word == ")":
                return
            if word != ",":
                raise _SelectorError(f"{_found(word)} where a `,` or `)` belongs; write `{operator} (a, b)`")

    def _peek(self) -> str:
        return self._tokens[self._next]

    def _take(self) -> str:
        word = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return word


def _tokens(text: str) -> Iterator[str]:
    """The tokens of a label selector; the last one is ""."""
    # Every character is a symbol, a space or part of a word, so nothing is passed over.
    for match in _TOKEN.finditer(text):
        word = match[1] or match[2]
        if word:
            yield word
    yield ""


def _is_word(word: str) -> bool:
    return word not in {"", "==", "!=", "=", "!", "(", ")", ",", "<", ">"}


def _checked_value(value: str) -> str:
    if _NAME.fullmatch(value) is None or len(value) > _NAME_LENGTH:
        raise _SelectorError(
            f"`{value}` is not a label value; write at most 63 letters, digits, `-`, `_` and `.`, "
            "a letter or digit first and last"
        )
    return value


def _found(word: str) -> str:
    return f"`{word}` stands" if word else "the selector ends"
