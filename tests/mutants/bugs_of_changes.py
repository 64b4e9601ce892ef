"""Planted bugs in reconciliation, redaction, identity, and in what the runtime makes of them."""

from tests.mutants.bug import Bug

__all__ = ["BUGS"]

_RECONCILE = "bridge/changes/reconcile.py"
_REDACT = "bridge/changes/redact.py"
_IDENTITY = "bridge/changes/identity.py"
_INTAKE = "bridge/runtime/intake.py"

BUGS = (
    Bug(
        "deletion-on-doubt",
        "an object that a list merely passed over is reported as deleted",
        _RECONCILE,
        "            if gone is None:\n                inventory.put(key, known)\n                continue\n",
        "",
        ("tests/changes/test_reconcile.py",),
    ),
    Bug(
        "recreation-as-update",
        "a new object under an old name is reported as MODIFIED, its predecessor never as DELETED",
        _RECONCILE,
        "                if known.uid != event.uid:\n                    changes.append(",
        "                if False:\n                    changes.append(",
        ("tests/changes/test_reconcile.py",),
    ),
    Bug(
        "list-ends-early",
        "objects behind the last listed one are never found to be deleted",
        _RECONCILE,
        "            yield from [key for key, _ in inventory.scan(self._after, last)]\n",
        "            yield from ()\n",
        ("tests/changes/test_reconcile.py",),
    ),
    Bug(
        "known-change-told-again",
        "what a crash between two commits repeats is reported twice, in the file for ever",
        _RECONCILE,
        "                if known.uid == event.uid and known.rv == event.rv:\n"
        "                    self.tally.replayed += 1\n                    continue\n",
        "",
        ("tests/changes/test_reconcile.py",),
    ),
    Bug(
        "string-data-in-the-clear",
        "a password written as stringData reaches disk and every sink",
        _REDACT,
        '(("data", None), ("stringData", None), (',
        '(("data", None), (',
        ("tests/changes/test_redact.py::test_a_secret_keeps_its_keys_and_loses_its_values",),
    ),
    Bug(
        "last-applied-in-the-clear",
        "kubectl's annotation carries the whole Secret in the clear to every sink",
        _REDACT,
        ', ("metadata", "annotations", LAST_APPLIED))',
        ")",
        ("tests/changes/test_redact.py::test_a_secret_keeps_its_keys_and_loses_its_values",),
    ),
    Bug(
        "listed-secrets-in-the-clear",
        "Secrets that exist at the start are stored and sent unredacted, only later changes are not",
        _INTAKE,
        "        listing = self._current_listing()\n        events = await self._redacted(events)\n",
        "        listing = self._current_listing()\n",
        ("tests/runtime/test_observer_promises.py",),
    ),
    Bug(
        "cursor-in-an-earlier-append",
        "a kill between two commits loses the events that the cursor has passed already",
        _INTAKE,
        "            lambda inventory: self._count(self._rules.live(inventory, events, time=now)),\n"
        "            size=_size(events),\n            cursor=cursor,\n",
        "            lambda _: (),\n            size=64,\n            cursor=cursor,\n        )\n"
        "        await self._log.append(\n            self._stream,\n            self._scope,\n"
        "            lambda inventory: self._count(self._rules.live(inventory, events, time=now)),\n"
        "            size=_size(events),\n",
        ("tests/runtime/test_observer_promises.py",),
    ),
    Bug(
        "unfinished-list-moves-the-cursor",
        "a kill while deletions are being confirmed leaves a listing that nobody ends and deletes for",
        _INTAKE,
        "        await self._log.append(self._stream, self._scope, doubt, size=512)\n",
        "        await self._log.append(self._stream, self._scope, doubt, size=512, cursor=Cursor(rv, rv))\n",
        ("tests/runtime/test_observer_promises.py",),
    ),
    Bug(
        "sequence-without-length",
        "a consumer that compares sequences takes revision 1000 for older than 999 and drops it",
        _IDENTITY,
        '    return f"{epoch_text}{_LENGTHS[length] if length < len(_LENGTHS) else _LENGTHS[-1]}{rv}"',
        '    return f"{epoch_text}{rv}"',
        ("tests/changes/test_identity.py",),
    ),
    Bug(
        "id-without-its-mark",
        "a deletion has the id of the update before it: consumers that drop known ids never see it",
        _IDENTITY,
        '        mark = "D" if change.type == _DELETED else "U"\n',
        '        mark = "U"\n',
        ("tests/changes/test_identity.py::test_the_id_is_frozen",),
    ),
    Bug(
        "id-without-its-epoch",
        "after a restored backup new records have the ids of old ones and are dropped as known",
        _IDENTITY,
        '    epoch_part = f"~{epoch}" if epoch else ""\n',
        '    epoch_part = ""\n',
        ("tests/changes/test_identity.py::test_the_id_is_frozen",),
    ),
    Bug(
        "core-path-guessed",
        "the subject of a core object is a path that no API server has",
        "bridge/changes/cloudevents.py",
        ' if stream.group else "api"\n',
        "\n",
        ("tests/changes/test_cloudevents.py",),
    ),
    Bug(
        "empty-attribute-sent",
        "a node's event has an empty attribute, which CloudEvents forbid: strict readers refuse it",
        "bridge/changes/cloudevents.py",
        "            if value:\n",
        "            if True:\n",
        ("tests/changes/test_cloudevents.py",),
    ),
)
