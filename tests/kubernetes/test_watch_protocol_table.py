"""The control table: complete, literal, and shown where people read it."""

import re
from itertools import product

import pytest

from bridge.changes.change import Cause
from bridge.errors import InvariantError
from bridge.kubernetes import transitions
from bridge.kubernetes.control import Control
from bridge.kubernetes.transitions import IMPOSSIBLE, TABLE, Pace, Signal, State
from tests.kubernetes.conversation import Middle


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_every_pair_of_state_and_signal_is_decided(state: State, signal: Signal) -> None:
    """Each pair is in the table, and then a watch makes exactly that move, or impossible: it stops."""
    control = Control(Middle(), Cause.FIRST_START)
    control.state = state
    assert (signal in TABLE[state]) != (signal in IMPOSSIBLE[state])
    if signal in IMPOSSIBLE[state]:
        with pytest.raises(InvariantError, match=f"{state}.*{signal}"):
            control.signal(signal, 0.0)
        assert control.state is state
    else:
        move = TABLE[state][signal]
        control.signal(signal, 100.0)
        assert control.state is move.state
        assert control.cause is (move.cause or Cause.FIRST_START)
        assert (control.due > 100.0) is (move.pace is not Pace.NOW)


def test_the_docstring_shows_the_table_as_it_is() -> None:
    """What people read in the module's docstring is the table that runs."""
    text = (transitions.__doc__ or "").split("```")[1].strip("\n").splitlines()
    columns = [State(name) for name in text[0].split()[1:]]
    shown = {}
    for row in text[1:]:
        signal, *cells = row.split()
        for state, cell in zip(columns, cells, strict=True):
            if cell != "-":
                shown[state, Signal(signal)] = cell
    real = {
        (state, signal): f"{move.state}{move.pace.value}"
        for state in columns
        for signal, move in TABLE[state].items()
    }
    assert shown == real
    assert set(State) - set(columns) == {State.START, State.LISTING}


def test_no_error_ever_leads_to_a_listing_but_those_that_make_the_revision_useless() -> None:
    """[B11] Connection errors, 401, 403, 404, 408, 429, 5xx keep the revision and never list."""
    keep = {Signal.CUT, Signal.BUSY, Signal.FAILED, Signal.NONSENSE, Signal.FORBIDDEN, Signal.ABSENT}
    keep |= {Signal.ENDED, Signal.SHORT, Signal.IDLE, Signal.GARBLED, Signal.UNSUPPORTED, Signal.TOO_LARGE}
    for state in (State.PROBING, State.RESUMING, State.WATCHING):
        for signal, move in TABLE[state].items():
            if signal in keep:
                assert move.state in {State.PROBING, State.RESUMING}
                assert move.cause is None


def test_only_a_complete_listing_or_a_cursor_leads_to_a_watch() -> None:
    """[B2] There is no way to WATCHING but through LISTED or from RESUMING, which needs a cursor."""
    ways = {
        (state, signal)
        for state, moves in TABLE.items()
        for signal, move in moves.items()
        if move.state is State.WATCHING
    }
    assert ways == {(State.STREAMING, Signal.LISTED), (State.RESUMING, Signal.OPENED)}
    assert re.search("Only a complete listing|only a complete listing", transitions.__doc__ or "")
