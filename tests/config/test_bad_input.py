"""Each thing that can be wrong is told with its line, its key, what is wrong and what to write."""

from pathlib import Path

import pytest

from bridge.config import ConfigError, loads
from tests.config.texts import LINES, problems, text

CASES = [
    block.split("\n")
    for block in (Path(__file__).parent / "bad-input.txt").read_text("utf-8").strip().split("\n\n")
    if not block.startswith("#")
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_what_is_wrong_is_told_and_nothing_else(case: list[str]) -> None:
    """Each block of bad-input.txt gives exactly the problems that stand below it."""
    told = [line.removeprefix("-> ") for line in case if line.startswith("-> ")]
    lines = "\n".join(line for line in case if not line.startswith("-> "))
    key = lines.partition(":")[0]
    assert problems(text(**{key if key in LINES else "more": lines})) == told


def test_everything_wrong_is_told_at_once_in_the_order_of_the_lines() -> None:
    source = """\
cluster: {qsp: 1}
streams:
  - name: Pods
    apiVersion: v1
    labelSelector: a b
    initial: never
sinks:
  - {name: out, type: lines, streams: [pod]}
state: {path: /s, maxBytes: 1Mi}
"""
    with pytest.raises(ConfigError) as caught:
        loads(source, "deploy/c.yaml")
    assert caught.value.exit_code == 2
    assert [problem.line for problem in caught.value.problems] == [1, 1, 3, 3, 5, 6, 8, 9]
    assert str(caught.value) == (
        "deploy/c.yaml:1: cluster.qsp: unknown key; did you mean `qps`?\n"
        "deploy/c.yaml:1: cluster.name: is missing; write a cluster name, as `name: prod-eu1`\n"
        "deploy/c.yaml:3: streams[0].name: `Pods` is not a name; "
        "write lower-case letters, digits and `-`, as web-pods\n"
        "deploy/c.yaml:3: streams[0]: names nothing to watch; "
        "write `resource: pods`, or apiVersion and kind\n"
        "deploy/c.yaml:5: streams[0].labelSelector: `a b` is not a label selector: "
        "`b` is not an operator; write =, ==, !=, in, notin, < or >\n"
        "deploy/c.yaml:6: streams[0].initial: `never` is not known here; write emit or skip\n"
        'deploy/c.yaml:8: sinks[0].path: is missing; write a text, as `path: "-"`\n'
        "deploy/c.yaml:9: state.maxBytes: `1Mi` is out of bounds; write a size of at least 64Mi"
    )


def test_a_state_that_is_missing_is_told_with_what_to_write() -> None:
    told = (
        "1: state: is missing; write a mapping with maxBytes, path, as `state: {path: /var/lib/kube-bridge}`"
    )
    assert problems(text(state="")) == [told]


def test_a_doubled_key_is_told_with_the_line_of_the_first() -> None:
    assert problems(text(more="state: {path: /t}")) == [
        "5: state: is there already, in line 2; remove one of the two"
    ]


def test_a_number_of_thousands_of_digits_is_told_in_one_short_line() -> None:
    [told] = problems(text(cluster=f"cluster: {{name: c, burst: {'9' * 5000}}}"))
    assert told.startswith(f"1: cluster.burst: `{'9' * 40}...` is not a whole number")
    assert len(told) < 150


def test_a_kubeconfig_that_cannot_be_read_is_told_unless_files_are_not_looked_at() -> None:
    source = text(cluster="cluster: {name: c, kubeconfig: /no/such/file}")
    told = (
        "1: cluster.kubeconfig: '/no/such/file' cannot be read (No such file or directory); "
        "name a file that this user may read"
    )
    assert problems(source, check_files=True) == [told]
    assert problems(source, check_files=False) == []


def test_a_sink_that_blocks_stalls_sinks_of_other_streams_too() -> None:
    """There is one log for all streams."""
    sinks = "[{name: a, type: lines, path: x, whenFull: block, streams: [p]}, "
    sinks += "{name: b, type: lines, path: y, streams: [j]}, {name: c, type: lines, path: z}]"
    source = text(
        streams="streams: [{name: p, resource: pods}, {name: j, resource: jobs}]", sinks=f"sinks: {sinks}"
    )
    [told] = problems(source)
    assert told.startswith("4: sinks[0].whenFull: `block` would also stall `b`, `c`: the one log holds")


HERE = "correct it in this line or the one before"
NOT_YAML = [
    ("", ":1: the configuration is empty; write at least cluster, state, streams and sinks"),
    ("# nothing\n---\n", ":1: the configuration is empty; write at least cluster, state, streams and sinks"),
    ("- a\n", ":1: is not a mapping; write keys, such as `cluster:`"),
    ("hello", ":1: is not a mapping; write keys, such as `cluster:`"),
    ("cluster:\n\tname: c\n", ":2: a tab cannot indent YAML; write spaces"),
    (
        "a: 1\n---\nb: 2\n",
        ":3: a second YAML document begins here; write everything in one, without `---` between",
    ),
    ("a: b: c\n", f":1: is not valid YAML (mapping values are not allowed here); {HERE}"),
    (
        "a: [1\nb: 2\n",
        f":2: is not valid YAML (while parsing a flow sequence, expected ',' or ']', but got ':'); {HERE}",
    ),
    ("a: *nowhere\n", f":1: is not valid YAML (found undefined alias 'nowhere'); {HERE}"),
    ('a: 1\nb: "\\UFFFFFFFF"\n', ":2: is not valid YAML; correct the escape or number in this line"),
    ("a: 1\nb: \x07\n", ":2: the character U+0007 is not allowed in YAML; remove it"),
    ("[" * 5000, ": is nested too deeply; a configuration has a handful of levels"),
]


@pytest.mark.parametrize(("source", "told"), NOT_YAML, ids=[source[:20] for source, _ in NOT_YAML])
def test_a_text_that_is_no_yaml_mapping_is_told(source: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(source, "c.yaml")
    assert str(caught.value) == f"c.yaml{told}"


def test_merges_that_double_at_each_level_are_read_in_a_moment() -> None:
    """A mapping is resolved once however often it is merged, so 2**60 paths to it cost nothing."""
    levels = ["- &a0 {name: a0, resource: pods}"]
    levels += [f"- &a{n} {{name: a{n}, <<: [{{<<: *a{n - 1}}}, {{<<: *a{n - 1}}}]}}" for n in range(1, 60)]
    streams = "\n".join(["streams:", *levels])
    assert loads(text(streams=streams), "c.yaml").streams[59].resource == "pods"
