"""What the pages name exists: files, headings, targets of make, commands and flags; their examples load."""

from __future__ import annotations

import re
import shlex
from itertools import chain
from pathlib import Path

import pytest
import yaml

from bridge import cli
from bridge.config import loads
from sinks.kafka.client import producing
from sinks.kafka.link import PATIENCE_SECONDS
from sinks.kafka.transactions import _PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
# What has a history names what was there then.
CURRENT = {name: text for name, text in PAGES.items() if not re.search("changelog|decisions", name)}
ASKING = {"status", "snapshot", "pause", "resume", "deadletters", "redrive", "check", "run"}


def words_of(folder: str) -> str:
    """The sources of a sink, with texts that go over several lines in one."""
    text = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "sinks" / folder).glob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def reasons(folder: str) -> set[str]:
    """The words by which a sink's tries in vain are counted."""
    text = words_of(folder)
    found = re.findall(r'Trouble\(\s*"(\w+)"|\breason = "(\w+)"|\breason="(\w+)"', text)
    pairs = re.findall(r'sentence, reason = .*?, "(\w+)"(?: if .* else "(\w+)")?', text)
    return set(filter(None, chain(*found, *pairs)))


def section(page: str, start: str, end: str) -> set[str]:
    """The words in backticks between two texts of a page."""
    [found] = re.findall(re.escape(start) + "(.*?)" + re.escape(end), PAGES[page], re.DOTALL)
    return set(re.findall(r"`([a-zA-Z_]+)`", found)) - {"kube_bridge_sink_failed_tries_total"}


def commands() -> list[str]:
    """Each `kube-bridge ...` of the pages, in a line and in blocks."""
    found: set[str] = set()
    for text in CURRENT.values():
        found.update(re.findall(r"^\$ (kube-bridge [^#|\n]*)", text, re.MULTILINE))
        found.update(re.findall(r"`(kube-bridge [^`|\\]*)", text))
    return sorted({each.strip() for each in found})


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_to_a_page_and_to_a_heading(page: str) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(#[^)]*)?\)", PAGES[page]):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor[1:] in known


@pytest.mark.parametrize("page", CURRENT)
def test_a_file_that_proves_or_explains_something_exists(page: str) -> None:
    for path in re.findall(
        r"(?<![\w/.-])(?:tests|bridge|sinks|docs|deploy)/[\w/-]+(?:\.\w+)?", CURRENT[page]
    ):
        assert (ROOT / path).exists(), path
    for row in re.findall(r"^\|.*", CURRENT[page], re.MULTILINE):
        beside = re.search(r"`((?:\w+/)+)\w+\.py`", row)
        for name in re.findall(r"`(test_\w+\.py)`", row):
            assert beside, row
            assert (ROOT / beside[1] / name).exists(), name


@pytest.mark.parametrize("page", CURRENT)
def test_a_target_of_make_exists(page: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"(?:`|^\$ |^)make ([a-z]+)", CURRENT[page], re.MULTILINE)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("command", commands())
def test_a_command_is_understood_as_it_stands_there(command: str) -> None:
    """A sentence may name a command alone, and leave out which bridge is meant."""
    _, name, *rest = shlex.split(re.sub(r"\[(.*?)\]|\.\.\.", r"\1", command))
    if not any(word.isalpha() or word in {"-c", "--sink"} for word in rest):
        with pytest.raises(SystemExit, match=r"^0$"):
            cli._parser().parse_args([name, *rest, "--help"])
        return
    if name in ASKING and not {"-c", "--state"} & set(rest):
        rest += ["-c", "FILE"]
    cli._parser().parse_args([name, *rest])


@pytest.mark.parametrize("page", ["README.md", "docs/kafka.md", "docs/webhook.md"])
def test_an_example_of_a_configuration_loads(page: str) -> None:
    """Also what stands there as a comment: it is meant to be taken over."""
    base = {
        "cluster": {"name": "dev"},
        "state": {"path": "state"},
        "streams": [{"name": "pods", "resource": "pods"}],
    }
    examples = re.findall(r"```yaml\n(.*?)```", PAGES[page], re.DOTALL)
    assert examples
    for text in examples:
        part = yaml.safe_load(re.sub(r"^  # - ", "  - ", text, flags=re.MULTILINE))
        loads(yaml.safe_dump(base | part), page, check_files=False)


def test_what_kafka_md_says_that_the_sink_says_it_says() -> None:
    said = words_of("kafka")
    [table] = re.findall(
        r"^\| it says \| do \|\n.*?\n\n", PAGES["docs/kafka.md"] + "\n\n", re.DOTALL | re.MULTILINE
    )
    first = [row.split("|")[1] for row in table.strip().splitlines()[2:]]
    parts = {
        part.strip(" .")
        for cell in first
        for part in re.split(r"\.\.\.| / |for \d+ s .*", cell)
        if part.strip(" .")
    }
    assert len(parts) > len(first)
    assert {part for part in parts if part not in said} == set()
    assert f"for {PATIENCE_SECONDS:.0f} s (in transactions for {_PATIENCE_SECONDS:.0f} s)" in table


def test_the_words_by_which_tries_in_vain_are_counted_are_all_named() -> None:
    assert section("docs/kafka.md", "counted by reason", "\n\n") == reasons("kafka")
    webhook = section("docs/webhook.md", "counted by reason", "The sentence")
    # Those of an answer are in a table of statuses.
    assert webhook == reasons("webhook") | {"throttled", "too_early", "server_error"}


def test_each_property_that_a_kafka_producer_has_from_us_is_named() -> None:
    assert {name for name in producing({}, []) if name not in PAGES["docs/kafka.md"]} == set()
