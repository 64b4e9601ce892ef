"""The commands that talk to a running bridge: their arguments, and how their answers are shown.

On a terminal a table, into a pipe JSON: one document, or one a line where there are several.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge.errors import UsageError

__all__ = ["add_commands"]

Parsers: TypeAlias = "argparse._SubParsersAction[Any]"  # noqa: SLF001 - argparse has no public name for it

_STATUS: Final = """\
What each stream and each sink of a running bridge does, how far it is behind, and why.

examples:
  kube-bridge status -c config.yaml
  kubectl -n kube-bridge exec kube-bridge-0 -- kube-bridge status -c /etc/kube-bridge/config.yaml
  kube-bridge status --state ./state -o json | jq '.sinks[] | select(.state != "delivering")'
"""
_SNAPSHOT: Final = """\
Sends what exists now, once more, to one sink or to all that want the stream: a RESYNC pair around ADDED
records that carry `snapshot`. The others notice nothing but an announced listing.

examples:
  kube-bridge snapshot -c config.yaml --stream pods --sink events
"""
_PAUSE: Final = """\
A paused sink takes no records; its cursor stays, and so does what it has not taken. What is in flight has
25 s to end, then it is cut off and comes again later. A pause lasts until `resume` or the end of the process.
`resume` also has a sink try again that was parked or halted, once what was wrong is repaired.

examples:
  kube-bridge pause -c config.yaml --sink hook
  kube-bridge resume -c config.yaml --sink hook
"""
_LETTERS: Final = """\
Dead letters are the records that a destination refused for good; they are kept until a person decides.

examples:
  kube-bridge deadletters list -c config.yaml --sink hook
  kube-bridge deadletters show -c config.yaml --id 17
  kube-bridge deadletters purge -c config.yaml --sink hook --all
"""
_REDRIVE: Final = """\
Puts dead letters into the log again, for their sink alone and with their old ids. A letter whose object has
changed since is left alone, because an older state must not be put over a newer one; --force sends it too.

examples:
  kube-bridge redrive -c config.yaml --sink hook
  kube-bridge redrive -c config.yaml --sink hook --id 17 --id 18
"""


def add_commands(commands: Parsers) -> None:
    """Add the parsers of all of them."""
    status = _command(commands, "status", "what a running bridge does", _STATUS)
    _output(status)
    status.set_defaults(run=_status)
    snapshot = _command(commands, "snapshot", "send what exists to a sink once more", _SNAPSHOT)
    snapshot.add_argument("--stream", metavar="S", required=True, help="the stream to send")
    snapshot.add_argument("--sink", metavar="S", help="to this sink only; default: all that want the stream")
    snapshot.set_defaults(run=_snapshot)
    for name, about in (
        ("pause", "hand a sink no records for now"),
        ("resume", "have a sink go on that was paused, parked or halted"),
    ):
        parser = _command(commands, name, about, _PAUSE)
        parser.add_argument("--sink", metavar="S", required=True, help="the sink")
        parser.set_defaults(run=_pause, command=name)
    _letters(commands)
    redrive = _command(commands, "redrive", "send dead letters again", _REDRIVE)
    redrive.add_argument("--sink", metavar="S", required=True, help="the sink that refused them")
    redrive.add_argument("--id", metavar="ID", type=_number, action="append", help="only these; repeatable")
    redrive.add_argument("--force", action="store_true", help="also what is older than what was sent since")
    redrive.set_defaults(run=_redrive)


def _letters(commands: Parsers) -> None:
    letters = commands.add_parser(
        "deadletters",
        help="records that a destination refused",
        description=_LETTERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = letters.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = _command(kinds, "list", "one line each, the oldest first", _LETTERS)
    listing.add_argument("--sink", metavar="S", help="of this sink only")
    _output(listing)
    listing.set_defaults(run=_list)
    show = _command(kinds, "show", "everything about each, as JSON", _LETTERS)
    show.add_argument("--sink", metavar="S", help="of this sink only")
    show.add_argument("--id", metavar="ID", type=_number, action="append", help="only these; repeatable")
    show.set_defaults(run=_show)
    purge = _command(kinds, "purge", "forget them for ever", _LETTERS)
    purge.add_argument("--sink", metavar="S", help="of this sink only")
    which = purge.add_mutually_exclusive_group(required=True)
    which.add_argument("--id", metavar="ID", type=_number, action="append", help="only these; repeatable")
    which.add_argument("--all", action="store_true", help="every one, of the sink or of all sinks")
    purge.set_defaults(run=_purge)


def _command(commands: Parsers, name: str, about: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("-c", "--config", metavar="FILE", type=Path, help="the configuration of the bridge")
    which.add_argument("--state", metavar="DIR", type=Path, help="its state directory")
    return parser


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", choices=["json", "table"], help="default: table on a terminal, else json"
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a dead letter; `deadletters list` shows them")
    return int(text)


def _ask(
    arguments: argparse.Namespace,
    command: str,
    asked: dict[str, Any],
    item: Callable[[Any], None] = lambda _: None,
) -> Any:
    from bridge.remote import ask  # noqa: PLC0415 - `--help` must not pay for it

    return ask(_state(arguments), command, asked, item)


def _state(arguments: argparse.Namespace) -> Path:
    chosen: Path | None = arguments.state
    if chosen is not None:
        return chosen
    from bridge.config import load_state_path  # noqa: PLC0415

    return load_state_path(arguments.config)


def _status(arguments: argparse.Namespace) -> int:
    status = _ask(arguments, "status", {})
    if not _tabular(arguments):
        _say(_json(status))
        return 0
    _say(f"cluster {status['cluster']}" + (f"  log: {status['full']}" if status["full"] else ""))
    _table(
        ("STREAM", "NAMESPACE", "STATE", "FOR", "REASON"),
        [
            (s["stream"], s["namespace"] or "*", s["state"], _span(s["seconds"]), s["reason"])
            for s in status["streams"]
        ],
    )
    _table(
        ("SINK", "STATE", "BEHIND", "BYTES", "OLDEST", "DEAD LETTERS", "SNAPSHOTS OWED", "REASON"),
        [
            (
                s["sink"],
                s["state"],
                s["lag"]["records"],
                _bytes(s["lag"]["bytes"]),
                _span(s["lag"]["seconds"]),
                s["deadLetters"],
                s["snapshotsOwed"],
                _awaited(s["reason"], s["nextTrySeconds"]),
            )
            for s in status["sinks"]
        ],
    )
    return 0


def _snapshot(arguments: argparse.Namespace) -> int:
    asked = {"stream": arguments.stream, "sink": arguments.sink}
    sinks = _ask(arguments, "snapshot", asked)["sinks"]
    _say(f"a snapshot of {arguments.stream} will be sent to {', '.join(sinks)}")
    return 0


def _pause(arguments: argparse.Namespace) -> int:
    result = _ask(arguments, arguments.command, {"sink": arguments.sink})
    reason = result.get("reason")
    _say(f"{arguments.sink}: {result['state']}" + (f" ({_plain(reason)})" if reason else ""))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    found: list[Any] = []
    as_table = _tabular(arguments)
    _ask(
        arguments,
        "deadletters",
        {"sink": arguments.sink},
        found.append if as_table else lambda letter: _say(_json(letter)),
    )
    if as_table:
        keys = ("id", "sink", "stream", "type", "namespace", "name", "attempts", "last", "reason")
        _table([key.upper() for key in keys], [[letter[key] for key in keys] for letter in found])
    return 0


def _show(arguments: argparse.Namespace) -> int:
    asked = {"sink": arguments.sink, "ids": arguments.id, "records": True}
    shown: list[int] = []

    def show(letter: Any) -> None:
        shown.append(letter["id"])
        _say(_json(letter, indent=2))

    _ask(arguments, "deadletters", asked, show)
    missing = sorted(set(arguments.id or ()) - set(shown))
    if missing:
        raise UsageError(
            f"there is no dead letter {', '.join(map(str, missing))}; `deadletters list` shows them"
        )
    return 0


def _purge(arguments: argparse.Namespace) -> int:
    asked = {"sink": arguments.sink, "ids": arguments.id, "all": arguments.all}
    result = _ask(arguments, "purge", asked)
    _say(f"{result['purged']} purged")
    return 0


def _redrive(arguments: argparse.Namespace) -> int:
    asked = {"sink": arguments.sink, "ids": arguments.id, "force": arguments.force}
    result = _ask(arguments, "redrive", asked)
    _say(f"{result['redriven']} redriven, {result['superseded']} superseded")
    if result["superseded"]:
        _say("superseded: the object has changed since; --force sends it all the same, purge forgets it")
    if result["foreign"]:
        _say(
            f"{result['foreign']} left alone: this sink gets no records of their stream any more, so nobody "
            "knows what is true of them now; --force sends those that its `streams` allow, purge forgets them"
        )
    return 0


def _awaited(reason: str, seconds: float | None) -> str:
    return reason if seconds is None else f"{reason}; next try in {_span(seconds)}"


def _tabular(arguments: argparse.Namespace) -> bool:
    chosen: str | None = arguments.output
    return (chosen or ("table" if sys.stdout.isatty() else "json")) == "table"


def _say(text: str) -> None:
    print(text)


def _json(value: Any, indent: int | None = None) -> str:
    import json  # noqa: PLC0415 - `watch` starts without it

    return json.dumps(value, indent=indent)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    cells = [list(head), *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _plain(cell: Any) -> str:
    """One line without control characters: a reason is a destination's text, which may hold anything."""
    return "".join(char if char.isprintable() else " " for char in str(cell))


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004 - what the units are
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]  # from here on it is shown with one digit
    return f"{count:.1f} GiB"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
