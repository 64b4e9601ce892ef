"""A stored cursor that cannot be a revision is not even asked about: the watch begins with a listing."""

import pytest

from bridge.changes.change import Cause, Cursor
from tests.kubernetes.conversation import Conversation


@pytest.mark.parametrize("rv", ["0", "007", "-5", "+5", "a b", "1\n"])
def test_a_damaged_checkpoint_lists_at_once_and_says_that_history_is_missing(rv: str) -> None:
    """[E9] [B2] The first request of all is the listing; a probe would lead to a watch from there."""
    talk = Conversation(Cursor(rv, rv))
    request = talk.ask()
    assert request.listing
    assert "resourceVersion" not in request.params
    talk.listed(77)
    assert talk.causes == [Cause.EXPIRED]
