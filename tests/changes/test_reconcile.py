"""Reconciliation against a model: whatever was missed, the changes lead from what was reported to what is."""

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Change, Event, Gone, Origin
from bridge.changes.reconcile import Answer, Counts, Known, Listing, Reconciler, object_key


class DictInventory:
    """The inventory's contract over a dict."""

    def __init__(self, entries: dict[bytes, Known] | None = None) -> None:
        self.entries = dict(entries or {})
        self.doubts: dict[bytes, str] = {}

    def get(self, key: bytes) -> Known | None:
        return self.entries.get(key)

    def put(self, key: bytes, known: Known) -> None:
        self.doubts.pop(key, None)
        self.entries[key] = known

    def remove(self, key: bytes) -> None:
        self.doubts.pop(key, None)
        self.entries.pop(key, None)

    def scan(self, after: bytes, through: bytes | None) -> Iterable[tuple[bytes, Known]]:
        for key in sorted(self.entries):
            if key > after and (through is None or key <= through):
                yield key, self.entries[key]

    def suspect(self, key: bytes, listed_rv: str) -> None:
        self.doubts[key] = listed_rv

    def suspects(self, limit: int) -> Iterable[tuple[bytes, Known, str]]:
        for key in sorted(self.doubts)[:limit]:
            yield key, self.entries[key], self.doubts[key]


def event(
    name: str, uid: str, rv: int | str, kind: str = "ADDED", body: bytes = b"{}", ns: str = "d"
) -> Event:
    return Event(kind, ns, name, uid, str(rv), body)


def rules(*, selected: bool = False) -> Reconciler:
    return Reconciler(selected=selected)


def shapes(changes: Iterable[Change]) -> list[tuple[str, str, str, str]]:
    return [(c.type, c.name, c.uid, c.rv) for c in changes]


def relist(
    inventory: DictInventory, pages: Sequence[Sequence[Event]], truth: dict[bytes, Event], prefix: bytes = b""
) -> tuple[list[Change], Counts]:
    """A whole listing, its suspects settled by GETs against `truth`."""
    reconciler = rules()
    listing = Listing(reconciler, prefix, Origin.RESYNC)
    changes = [change for page in pages for change in listing.page(inventory, page, time=1)]
    listing.end(inventory, "1000")
    answers = []
    for key, known, _ in list(inventory.suspects(10_000)):
        found = truth.get(key)
        same = found is not None and found.uid == known.uid
        answers.append(Answer(key, known, None if same else Gone.DELETED, None if same else found))
    changes += reconciler.settle(inventory, answers, listed_rv="1000", time=1, counts=listing.counts)
    return changes, listing.counts


names = st.sampled_from(["a", "a-b", "a.b", "b", "c", "c0", "d"])
spaces = st.sampled_from(["", "n", "n-1", "n1", "z"])
objects = st.dictionaries(st.tuples(spaces, names), st.tuples(st.integers(0, 3), st.integers(1, 999)))


def as_events(state: dict[tuple[str, str], tuple[int, int]]) -> list[Event]:
    events = [
        Event("ADDED", ns, name, f"{ns}/{name}#{uid}", str(rv), b"{}")
        for (ns, name), (uid, rv) in state.items()
    ]
    return sorted(events, key=lambda e: object_key(e.namespace, e.name))


@given(objects, objects, st.integers(1, 4), st.randoms(use_true_random=False), st.booleans())
def test_a_relist_leads_from_any_inventory_to_the_list_whatever_its_pages_and_order(
    before: dict[tuple[str, str], tuple[int, int]],
    after: dict[tuple[str, str], tuple[int, int]],
    page: int,
    random: object,
    shuffled: bool,  # noqa: FBT001
) -> None:
    """[N4][A15] Applying the changes to what was reported gives the list; equal objects give nothing."""
    reported = {object_key(e.namespace, e.name): Known(e.uid, e.rv) for e in as_events(before)}
    inventory = DictInventory(reported)
    listed = as_events(after)
    truth = {object_key(e.namespace, e.name): e for e in listed}
    if shuffled:
        random.shuffle(listed)  # type: ignore[attr-defined]
    pages = [listed[i : i + page] for i in range(0, len(listed), page)]
    changes, counts = relist(inventory, pages, truth)
    view = dict(reported)
    for change in changes:
        key = object_key(change.namespace, change.name)
        if change.type == "DELETED":
            assert view.pop(key).uid == change.uid
        else:
            assert (change.type == "ADDED") == (key not in view)
            view[key] = Known(change.uid, change.rv)
    assert view == {key: Known(e.uid, e.rv) for key, e in truth.items()} == inventory.entries
    unchanged = sum(
        1 for key, known in reported.items() if key in truth and known == (truth[key].uid, truth[key].rv)
    )
    assert counts.unchanged == unchanged
    assert len(changes) == counts.added + counts.modified + counts.deleted


def test_a_list_that_lies_deletes_nothing_and_clears_its_suspects() -> None:
    """[N8] The GET finds the same uid: no DELETED, and the object stays known."""
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    changes, counts = relist(inventory, [[]], {b"d/x": event("x", "u1", 5)})
    assert changes == []
    assert (inventory.entries, inventory.doubts, counts.deleted) == ({b"d/x": Known("u1", "5")}, {}, 0)


def test_a_suspect_without_an_answer_stays_pending_and_known() -> None:
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    listing = Listing(rules(), b"", Origin.RESYNC)
    listing.end(inventory, "9")
    assert list(inventory.suspects(9)) == [(b"d/x", Known("u1", "5"), "9")]
    assert inventory.get(b"d/x") == Known("u1", "5")


def test_a_later_listing_that_shows_a_suspect_again_clears_it() -> None:
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    inventory.suspect(b"d/x", "9")
    listing = Listing(rules(), b"", Origin.RESYNC)
    assert listing.page(inventory, [event("x", "u1", 5)], time=1) == []
    listing.end(inventory, "10")
    assert inventory.doubts == {}


def test_a_listing_of_one_namespace_never_touches_another() -> None:
    """[M6] `n` ends before `n-1`, `n.x` and `n0` in byte order of `namespace/name`."""
    others = {
        b"n-1/x": Known("a", "1"),
        b"n0/x": Known("b", "1"),
        b"m/x": Known("c", "1"),
        b"/n": Known("d", "1"),
    }
    inventory = DictInventory({**others, b"n/gone": Known("e", "1")})
    changes, _ = relist(inventory, [[event("new", "f", 2, ns="n")]], {}, prefix=b"n/")
    assert shapes(changes) == [("ADDED", "new", "f", "2"), ("DELETED", "gone", "e", "1")]
    assert inventory.entries == {**others, b"n/new": Known("f", "2")}


def test_the_same_name_with_another_uid_in_a_list_is_deleted_then_added_once_a_get_agrees() -> None:
    """[D10][L7]"""
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    new = event("x", "u2", 8)
    changes, _ = relist(inventory, [[new]], {b"d/x": new})
    assert shapes(changes) == [("DELETED", "x", "u1", "5"), ("ADDED", "x", "u2", "8")]
    assert changes[0].extra == {"gone": "deleted", "synthetic": True, "observedAt": "1000"}


def test_a_lower_revision_inside_a_listing_is_reported_for_it_is_a_restored_backup() -> None:
    """[N11] real-apiserver 8.5: item revisions go back though the list's went forward."""
    inventory = DictInventory({b"d/x": Known("u1", "500")})
    changes, _ = relist(inventory, [[event("x", "u1", 5)]], {})
    assert shapes(changes) == [("MODIFIED", "x", "u1", "5")]


def test_a_changed_scope_forgets_without_calling_anything_deleted() -> None:
    """[N9][E10]"""
    inventory = DictInventory({b"d/x": Known("u1", "5"), b"d/y": Known("u2", "5")})
    listing = Listing(rules(), b"", Origin.SNAPSHOT, retract=False)
    assert listing.page(inventory, [event("y", "u2", 5)], time=1) == []
    listing.end(inventory, "9")
    assert (inventory.entries, inventory.doubts) == ({b"d/y": Known("u2", "5")}, {})


def test_a_changed_scope_reports_the_new_owner_of_a_known_name() -> None:
    """[N9][N7] The old owner is forgotten without a deletion, but the new one must not be lost with it."""
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    listing = Listing(rules(), b"", Origin.SNAPSHOT, retract=False)
    assert shapes(listing.page(inventory, [event("x", "u2", 7)], time=1)) == [("ADDED", "x", "u2", "7")]
    listing.end(inventory, "9")
    assert (inventory.entries, inventory.doubts) == ({b"d/x": Known("u2", "7")}, {})


def test_initial_skip_fills_the_inventory_and_reports_nothing() -> None:
    """[N15]"""
    inventory = DictInventory()
    listing = Listing(rules(), b"", Origin.SNAPSHOT, report=False)
    assert listing.page(inventory, [event("x", "u1", 5)], time=1) == []
    assert inventory.entries == {b"d/x": Known("u1", "5")}


def test_live_events_are_normalised_by_what_was_reported() -> None:
    """[D3][D7][D8][D9] ADDED of the known is MODIFIED, MODIFIED of the unknown ADDED, replays vanish."""
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    reconciler = rules()
    events = [
        event("x", "u1", 5),
        event("x", "u1", 4, "MODIFIED"),
        event("x", "u1", 6),
        event("y", "u2", 7, "MODIFIED"),
        event("z", "u3", 8, "DELETED"),
    ]
    changes = reconciler.live(inventory, events, time=1)
    expected = [("MODIFIED", "x", "u1", "6"), ("ADDED", "y", "u2", "7"), ("DELETED", "z", "u3", "8")]
    assert shapes(changes) == expected
    assert (reconciler.tally.replayed, reconciler.tally.stale) == (1, 1)


def test_another_uid_under_a_live_name_means_that_the_old_object_is_gone() -> None:
    """[N7] [D10] DELETED(old), synthetic, stands before ADDED(new); a late real DELETED is absorbed."""
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    reconciler = rules()
    changes = reconciler.live(inventory, [event("x", "u2", 9), event("x", "u1", 8, "DELETED")], time=1)
    assert shapes(changes) == [("DELETED", "x", "u1", "5"), ("ADDED", "x", "u2", "9")]
    assert reconciler.tally.absorbed == 1
    assert inventory.entries == {b"d/x": Known("u2", "9")}


def test_a_deletion_of_an_object_that_came_back_is_not_absorbed() -> None:
    """[N7] It left the selector unseen, was inferred to be gone, came back, and now is deleted for real."""
    inventory = DictInventory({b"d/x": Known("u1", "5")})
    reconciler = rules(selected=True)
    answer = Answer(b"d/x", Known("u1", "5"), Gone.UNSELECTED, None)
    reconciler.settle(inventory, [answer], listed_rv="9", time=1, counts=Counts())
    changes = reconciler.live(inventory, [event("x", "u1", 10), event("x", "u1", 11, "DELETED")], time=1)
    assert shapes(changes) == [("ADDED", "x", "u1", "10"), ("DELETED", "x", "u1", "11")]
    assert inventory.entries == {}


def test_a_deletion_of_an_earlier_owner_does_not_forget_the_new_one() -> None:
    inventory = DictInventory({b"d/x": Known("u2", "9")})
    changes = rules().live(inventory, [event("x", "u1", 8, "DELETED")], time=1)
    assert shapes(changes) == [("DELETED", "x", "u1", "8")]
    assert inventory.entries == {b"d/x": Known("u2", "9")}


def test_a_selected_stream_says_deleted_only_when_the_object_shows_it() -> None:
    """[D2] Without a deletionTimestamp it may have left the selector: unknown."""
    terminating = b'{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}'
    events = [event("x", "u1", 6, "DELETED"), event("y", "u2", 7, "DELETED", terminating)]
    gone = [c.extra for c in rules(selected=True).live(DictInventory(), events, time=1)]
    assert gone == [{"gone": "unknown"}, {"gone": "deleted"}]
    assert [c.extra for c in rules().live(DictInventory(), events, time=1)] == [{"gone": "deleted"}] * 2


def test_an_answer_about_an_object_that_changed_since_is_ignored() -> None:
    """[N17] A slow GET never overwrites what the watch said meanwhile."""
    inventory = DictInventory({b"d/x": Known("u1", "7")})
    answer = Answer(b"d/x", Known("u1", "5"), Gone.DELETED, None)
    counts = Counts()
    assert rules().settle(inventory, [answer], listed_rv="9", time=1, counts=counts) == []
    assert (inventory.entries, counts.deleted) == ({b"d/x": Known("u1", "7")}, 0)
