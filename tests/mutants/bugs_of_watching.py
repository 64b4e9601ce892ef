"""Planted bugs between the API server's bytes and the observer."""

from tests.mutants.bug import Bug

__all__ = ["BUGS"]

_REVISION = "bridge/kubernetes/revision.py"
_LISTS = "bridge/kubernetes/list_protocol.py"
_T_REVISION = "tests/kubernetes/test_revision.py"
_T_WATCH = "tests/kubernetes/test_watch_protocol"
_T_PAGES = "tests/kubernetes/test_list_protocol.py"

BUGS = (
    Bug(
        "resume-at-the-newest",
        "of several events at one revision, those behind a restart are lost",
        _REVISION,
        "        self._rv = self._newest or rv\n        self._newest = rv\n        self._seen = {f",
        "        self._rv = rv\n        self._newest = rv\n        self._seen = {f",
        (f"{_T_REVISION}::test_the_cursor_lags_behind_until_something_greater_arrives",),
    ),
    Bug(
        "resume-at-the-bookmark",
        "a bookmark may fall between two events of its revision: the second is lost at a restart",
        _REVISION,
        "        self._rv = self._newest or rv\n        self._newest = rv\n        self._seen = {}\n",
        "        self._rv = rv\n        self._newest = rv\n        self._seen = {}\n",
        (_T_REVISION,),
    ),
    Bug(
        "replay-filter-off",
        "every reconnect repeats events that were told already",
        _REVISION,
        "        if key in self._seen:\n            self.replayed += 1\n            return False\n",
        "",
        (f"{_T_REVISION}::test_replays_after_a_restart_are_dropped_and_their_neighbours_are_not",),
    ),
    Bug(
        "revisions-as-text",
        "revision 1000 passes for older than 999: bookmarks and events are taken for a rewind",
        _REVISION,
        "            return (len(rv), rv) > (len(newest), newest) or not is_revision(newest)",
        "            return rv > newest or not is_revision(newest)",
        (_T_REVISION,),
    ),
    Bug(
        "lines-split-like-text",
        "an object with U+0085 in a string is torn in two and reported as poison",
        "bridge/kubernetes/lines.py",
        '        lines = data.split(b"\\n")\n',
        '        lines = re.split(b"\\n|\\xc2\\x85|\\xe2\\x80\\xa8", data)\n',
        ("tests/kubernetes/test_framing.py::test_only_a_newline_ends_a_line",),
    ),
    Bug(
        "torn-line-mended",
        "half an object is reported as if it were whole",
        "bridge/kubernetes/documents.py",
        "            return [read_line(tail, self._shape)]",
        '            return [read_line(tail + b"}" * (tail.count(b"{") - tail.count(b"}")), self._shape)]',
        ("tests/kubernetes/test_framing.py::test_a_torn_last_line_never_was",),
    ),
    Bug(
        "marker-without-its-value",
        "a listing ends early: everything not sent yet becomes a suspect of deletion",
        "bridge/kubernetes/scan.py",
        'initial_events_end=_optional_text(marks, INITIAL_EVENTS_END) == "true"',
        "initial_events_end=INITIAL_EVENTS_END in marks",
        (f"{_T_WATCH}_streamed_listing.py::test_only_the_marker_with_its_value_ends_the_initial_events",),
    ),
    Bug(
        "list-from-the-cache",
        'a list at revision "0" may be older than what was seen: objects come back from the dead',
        _LISTS,
        "        elif self._exact:\n",
        '        elif not self._exact:\n            parameters["resourceVersion"] = "0"\n        else:\n',
        (f"{_T_PAGES}::test_a_first_page_names_no_revision",),
    ),
    Bug(
        "resume-from-zero",
        'a watch from revision "0" starts anywhere: deletions in between are skipped in silence',
        "bridge/kubernetes/requests.py",
        '    if rv in {"", "0"}:\n',
        '    if rv == "":\n',
        (f"{_T_WATCH}_requests.py::test_a_live_watch_from_no_revision_cannot_be_made",),
    ),
    Bug(
        "checkpoint-zero-sent",
        'a damaged checkpoint "0" is resumed from: the gap is never noticed',
        "bridge/changes/revision.py",
        '    return rv.isdigit() and rv.isascii() and rv[0] != "0" and len(rv) <= _LONGEST',
        "    return rv.isdigit() and rv.isascii() and len(rv) <= _LONGEST",
        ("tests/kubernetes/test_checkpoint_never_sent.py",),
    ),
    Bug(
        "continue-with-a-revision",
        "the second page of every list is refused with 400: no list above 500 objects ever ends",
        _LISTS,
        '            parameters["continue"] = self._continue\n',
        '            parameters |= {"continue": self._continue, "resourceVersion": self.rv}\n',
        (f"{_T_PAGES}::test_a_later_page_carries_limit_continue_and_the_same_selectors_only",),
    ),
    Bug(
        "first-page-is-the-list",
        "everything behind the first page becomes a suspect of deletion",
        _LISTS,
        "        return self.begun and not self._continue",
        "        return self.begun",
        (f"{_T_PAGES}::test_only_an_empty_continue_ends_a_list",),
    ),
    Bug(
        "pages-of-two-revisions",
        "a list put together from two moments misses what moved between its pages",
        _LISTS,
        "            if rv == self.rv:\n                return None\n",
        "            return None\n",
        (f"{_T_PAGES}::test_pages_of_different_revisions_are_no_list",),
    ),
    Bug(
        "stream-end-is-the-marker",
        "a streaming list that breaks off counts as complete: what was not sent becomes a suspect",
        "bridge/kubernetes/watch_protocol.py",
        "        if self._open is not watch:\n            return\n        if self.state is State.WATCHING:\n",
        "        if self._open is not watch:\n            return\n"
        "        if self.state is State.STREAMING:\n            self._listed(self.cursor.newest, now)\n"
        "        if self.state is State.WATCHING:\n",
        (f"{_T_WATCH}_fallback.py::test_a_stream_that_ends_before_its_marker_concludes_nothing",),
    ),
    Bug(
        "gone-tried-again",
        "after a 410 the same revision is asked for again, for ever: the stream stands still",
        "bridge/kubernetes/transitions.py",
        "        Signal.STUCK: Move(State.CHECKING, _BACKOFF, Cause.POISON),\n"
        "        Signal.EXPIRED: Move(State.CHECKING, _SOON, Cause.EXPIRED),\n",
        "        Signal.STUCK: Move(State.CHECKING, _BACKOFF, Cause.POISON),\n"
        "        Signal.EXPIRED: Move(State.RESUMING, _SOON),\n",
        (f"{_T_WATCH}_expired.py::test_a_410_in_the_stream_lists_and_never_retries_the_revision",),
    ),
    Bug(
        "cut-is-no-doubt",
        "a backup restored within a minute: the watch waits in the server's future and loses all until then",
        "bridge/kubernetes/probe.py",
        "frozenset({Signal.CUT, Signal.TOO_LARGE})",
        "frozenset({Signal.TOO_LARGE})",
        (f"{_T_WATCH}_doubt.py",),
    ),
    Bug(
        "events-behind-an-error",
        "events that follow an ERROR in one read are applied although the stream is void",
        "bridge/kubernetes/watch_body.py",
        "                    harvest.failure = document\n                    return False\n",
        "                    harvest.failure = document\n",
        (f"{_T_WATCH}_stream.py::test_nothing_behind_an_error_is_applied",),
    ),
    Bug(
        "forbidden-is-deleted",
        "rights taken away for a moment delete objects downstream",
        "bridge/runtime/confirm.py",
        "        if response.status == 404 and _is_not_found(response.body):",
        "        if response.status == 403 or (response.status == 404 and _is_not_found(response.body)):",
        ("tests/runtime/test_confirm_doubt.py",),
    ),
    Bug(
        "absent-path-is-deleted",
        "a CRD that is removed, or a proxy's 404, deletes objects downstream one by one",
        "bridge/runtime/confirm.py",
        "        if response.status == 404 and _is_not_found(response.body):",
        "        if response.status == 404:",
        ("tests/runtime/test_confirm_doubt.py",),
    ),
)
