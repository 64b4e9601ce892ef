"""The command line: arguments, exit codes, and one sentence for whatever went wrong.

Exit codes: 0 done (also when the reader closed the pipe); 1 runtime failure, or `watch` ended with
undelivered records; 2 usage or configuration; 3 a person must decide; 130 `watch` ended by Ctrl-C.
"""

import argparse
import os
import re
import select
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from bridge import __version__
from bridge.collector import loading
from bridge.commands import add_commands
from bridge.errors import BridgeError, UsageError

__all__ = ["main"]

_EXAMPLES = """\
examples:
  kube-bridge watch pods -n shop                        # what exists, then every change, as it happens
  kube-bridge watch deploy,pods -A -l app=web           # several resources, all namespaces
  kube-bridge watch pods -A | jq -r '[.type, .object.metadata.name] | @tsv'
  kube-bridge check -c config.yaml                      # is the configuration right, may we watch it?
  kube-bridge run -c config.yaml                        # the service
  kube-bridge status -c config.yaml                     # how is it, and how far behind is each sink?
  kube-bridge demo                                      # no cluster at hand? a simulated one
"""

_WATCH = """\
Prints what exists first, then every change. On a terminal: time, type, namespace/name and what changed.
Into a pipe: one JSON object per line, with `type` and `object` where
`kubectl get -w --output-watch-events -o json` puts them, so existing jq filters work.

examples:
  kube-bridge watch pods
  kube-bridge watch deployments.apps,svc -n shop --watch-only
  kube-bridge watch pods -A --field-selector status.phase=Failed -o json | jq .object.status
  kubectl proxy & kube-bridge watch cm --server http://127.0.0.1:8001
"""


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one of our own errors and not an exit from the depths."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Never raises for what a user can cause."""
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # while an error can still be handled
    except BaseException as error:
        leaves = list(_leaves(error))
        if all(isinstance(leaf, BrokenPipeError) for leaf in leaves) and _nobody_reads():
            return _quietly(0)
        failures = [leaf for leaf in leaves if isinstance(leaf, BridgeError)]
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            return _quietly(130)
        if not failures or len(failures) < len(leaves):
            raise  # something unexpected is in it: the traceback must be seen
        failure = max(failures, key=lambda failure: failure.exit_code)
        if failure.exit_code == 0:
            return _quietly(0)
        print(f"kube-bridge: {failure}", file=sys.stderr)
        return failure.exit_code
    return code


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside one that nurseries may have wrapped."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _nobody_reads() -> bool:
    """Whether the other end of the pipe that is our stdout is closed."""
    poll = select.poll()
    poll.register(1, 0)
    return bool(poll.poll(0))


def _quietly(code: int) -> int:
    """Keep the interpreter from complaining about a stdout that nobody reads any more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    return code


def _parser() -> argparse.ArgumentParser:
    prog = "kubectl bridge" if Path(sys.argv[0]).name == "kubectl-bridge" else "kube-bridge"
    parser = _Parser(
        prog=prog,
        description="Streams every change of Kubernetes resources, without ever losing a deletion.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kube-bridge {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    _watch_parser(commands)
    _run_parser(commands)
    _check_parser(commands)
    add_commands(commands)
    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration")
    schema.set_defaults(run=_schema)
    demo = commands.add_parser("demo", help="stream a simulated cluster; needs nothing")
    demo.add_argument("--seconds", type=_positive, default=12.0, help="how long (default: 12)")
    demo.add_argument("--seed", type=int, default=1, help="of the simulated churn (default: 1)")
    _output_arguments(demo)
    demo.set_defaults(run=_demo)
    return parser


def _watch_parser(commands: "argparse._SubParsersAction[_Parser]") -> None:
    watch = commands.add_parser(
        "watch",
        help="stream resources to stdout, ad hoc",
        description=_WATCH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument(
        "resources", metavar="RESOURCE[,RESOURCE]", help="as kubectl names them: pods, deploy, crd.group"
    )
    where = watch.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", metavar="NS", type=_namespace, help="default: the context's")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace")
    watch.add_argument("-l", "--selector", metavar="SEL", default="", help="label selector")
    watch.add_argument("--field-selector", metavar="SEL", default="", help="such as status.phase!=Succeeded")
    watch.add_argument("-w", "--watch-only", action="store_true", help="skip what exists, show changes only")
    watch.add_argument(
        "--show-secrets", action="store_true", help="do not replace the values of Secrets by a keyed hash"
    )
    _output_arguments(watch)
    _connection_arguments(watch)
    watch.set_defaults(run=_watch)


def _run_parser(commands: "argparse._SubParsersAction[_Parser]") -> None:
    run = commands.add_parser("run", help="the service: streams to sinks, durably")
    run.add_argument("-c", "--config", metavar="FILE", type=Path, required=True, help="the configuration")
    run.set_defaults(run=_run)


def _check_parser(commands: "argparse._SubParsersAction[_Parser]") -> None:
    check = commands.add_parser(
        "check", help="validate the configuration, then resources and permissions on the cluster"
    )
    check.add_argument("-c", "--config", metavar="FILE", type=Path, required=True, help="the configuration")
    check.add_argument("--offline", action="store_true", help="do not contact the cluster")
    check.set_defaults(run=_check)


def _output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=["json", "kubernetes", "pretty"],
        help="default: pretty on a terminal, else json",
    )


def _connection_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reaching the cluster")
    group.add_argument("--context", metavar="C", help="context of the kubeconfig")
    group.add_argument("--kubeconfig", metavar="FILE", type=Path, help="default: $KUBECONFIG, ~/.kube/config")
    group.add_argument("--server", metavar="URL", help="such as a `kubectl proxy`; no credential is sent")
    group.add_argument(
        "--insecure-skip-tls-verify", action="store_true", help="do not verify the server (warns)"
    )


def _namespace(text: str) -> str:
    # A server answers a name that cannot exist with an empty list, and so with silence.
    if text and not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be a namespace: that is lower-case letters, digits and '-', 63 at most"
        )
    return text


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be greater than 0")
    return value


def _watch(arguments: argparse.Namespace) -> int:
    with loading():
        import trio  # noqa: PLC0415

        from bridge.runtime.adhoc import Target, WatchOptions, watch  # noqa: PLC0415

    options = WatchOptions(
        resources=arguments.resources,
        namespace=arguments.namespace,
        all_namespaces=arguments.all_namespaces,
        label_selector=arguments.selector,
        field_selector=arguments.field_selector,
        watch_only=arguments.watch_only,
        show_secrets=arguments.show_secrets,
        output=_output(arguments),
    )
    target = Target(
        kubeconfig=arguments.kubeconfig,
        context=arguments.context,
        server=arguments.server,
        insecure=arguments.insecure_skip_tls_verify,
    )
    return trio.run(watch, options, target)


def _demo(arguments: argparse.Namespace) -> int:
    with loading():
        import trio  # noqa: PLC0415

        from bridge.runtime.adhoc import demo  # noqa: PLC0415

    return trio.run(demo, _output(arguments), arguments.seconds, arguments.seed)


def _run(arguments: argparse.Namespace) -> int:
    with loading():
        import trio  # noqa: PLC0415

        from bridge.config import load  # noqa: PLC0415
        from bridge.runtime.service import serve  # noqa: PLC0415

    return trio.run(serve, load(arguments.config))


def _check(arguments: argparse.Namespace) -> int:
    from bridge.config import load  # noqa: PLC0415

    # Online each sink tells by itself what it sees of its destination.
    config = load(arguments.config, check_destinations=arguments.offline)
    if arguments.offline:
        streams, sinks = len(config.streams), len(config.sinks)
        what = f"{streams} stream{'s' * (streams > 1)}, {sinks} sink{'s' * (sinks > 1)}"
        print(f"{arguments.config}: ok ({what})")
        return 0
    with loading():
        import trio  # noqa: PLC0415

        from bridge.runtime.preflight import check  # noqa: PLC0415

    return trio.run(check, config)


def _schema(arguments: argparse.Namespace) -> int:
    del arguments
    import json  # noqa: PLC0415

    from bridge.config import schema  # noqa: PLC0415

    print(json.dumps(schema(), indent=2))
    return 0


def _output(arguments: argparse.Namespace) -> str:
    chosen: str | None = arguments.output
    return chosen or ("pretty" if sys.stdout.isatty() else "json")
