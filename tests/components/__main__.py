"""``python -m tests.components build | cluster | broker | pin``."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Never

from tests.components.build import CURRENT, OLD, BuildFailed, ComponentUnavailable, build_all
from tests.components.cluster import Cluster, ComponentFailed
from tests.components.kafka import Kafka
from tests.components.maven import KAFKA, java, kafka_jars
from tests.components.pin import pin

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Runs one command; what cannot be done is said in one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.components", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build every component that is not in the cache yet")
    play = commands.add_parser("cluster", help="start a real API server to play with, until Ctrl-C")
    play.add_argument("--old", action="store_true", help=f"Kubernetes {OLD} instead of {CURRENT}")
    play.add_argument("--controllers", action="store_true", help="with kube-controller-manager")
    commands.add_parser("broker", help="start a real Kafka to play with, until Ctrl-C")
    commands.add_parser("pin", help="write go.mod and go.sum anew for the versions in build.py")
    options = parser.parse_args()
    # From here on SIGTERM unwinds the stack as Ctrl-C does.
    signal.signal(signal.SIGTERM, _stop)
    try:
        if options.command == "build":
            for path in build_all():
                print(path)
            print(kafka_jars())
        elif options.command == "pin":
            pin()
        elif options.command == "broker":
            _broker()
        else:
            _cluster(version=OLD if options.old else CURRENT, controllers=options.controllers)
    except (ComponentUnavailable, ComponentFailed, BuildFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _cluster(*, version: str, controllers: bool) -> None:
    with contextlib.suppress(KeyboardInterrupt), Cluster(version=version, controllers=controllers) as cluster:
        print(
            f"Kubernetes {version} runs at {cluster.url}, its etcd at {cluster.etcd.url},\n"
            f"with its files in {cluster.directory}\n\n"
            f"  export KUBECONFIG={cluster.kubeconfig}\n"
            f"  {cluster.kubectl_program} get namespaces\n"
            "  kube-bridge watch configmaps -A\n"
            "  kube-bridge watch pods,services -A -o json\n\n"
            "Ctrl-C stops it and removes everything.",
            flush=True,
        )
        while True:
            signal.pause()


def _broker() -> None:
    with contextlib.suppress(KeyboardInterrupt), Kafka() as kafka:
        address = kafka.broker.bootstrap
        print(
            f"Kafka {KAFKA} runs at {address}, with its files in {kafka.directory}\n\n"
            "  sinks:\n"
            "    - name: events\n"
            "      type: kafka\n"
            f'      bootstrapServers: "{address}"\n'
            '      topic: "k8s.{cluster}.{resource}"\n'
            "      createTopics: {partitions: 1}\n\n"
            f"  {java()} -cp '{kafka_jars()}/*' org.apache.kafka.tools.consumer.ConsoleConsumer \\\n"
            f"    --bootstrap-server {address} --include 'k8s[.].*' --from-beginning \\\n"
            "    --formatter-property print.key=true\n\n"
            "Ctrl-C stops it and removes everything.",
            flush=True,
        )
        while True:
            signal.pause()


def _stop(_number: int, _frame: FrameType | None) -> Never:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
