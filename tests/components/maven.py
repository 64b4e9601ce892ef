"""Fetches Apache Kafka's jars, once per machine, into the cache that `build` keeps, by its rules."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from tests.components.build import HERE, BuildFailed, ComponentUnavailable, cache_folder, obtain, say
from tests.components.process import spawn, tail

if TYPE_CHECKING:
    from pathlib import Path

KAFKA = "4.3.0"
MEASURED = "20 s"
SECONDS = 900
_POM = HERE / f"kafka-{KAFKA}" / "pom.xml"


def java() -> str:
    """The Java virtual machine.

    Raises:
        ComponentUnavailable: there is none.
    """
    found = shutil.which("java")
    if found is None:
        raise ComponentUnavailable("needs Java 17 or later, to run Kafka: there is no `java` on the PATH")
    return found


def kafka_jars() -> Path:
    """Returns the folder with all jars of a broker and its tools, fetched if it was not there.

    Raises:
        ComponentUnavailable: naming what is missing on this machine.
        BuildFailed: with the end of Maven's output.
    """
    inputs = hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]
    return obtain(cache_folder() / f"kafka-{KAFKA}-{inputs}", _fetch) / "libs"


def _fetch(folder: Path) -> None:
    java()
    maven = shutil.which("mvn")
    if maven is None:
        raise ComponentUnavailable("needs Maven, to fetch Kafka: there is no `mvn` on the PATH")
    say(f"fetching Kafka {KAFKA} (54 MB) into {folder.parent}, once; it took {MEASURED} when last measured")
    begin = time.monotonic()
    log = folder / "build.log"
    command = [maven, "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={folder / 'libs'}"]
    with log.open("wb") as output:
        # A child that is left behind by Ctrl-C would go on to write into a folder that is gone.
        process = spawn(command, output=output, directory=folder, environment=dict(os.environ))
        try:
            code = process.wait(SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        raise BuildFailed(f"fetching Kafka {KAFKA} ended with {code}:\n{tail(log)}")
    say(f"fetched Kafka {KAFKA} in {time.monotonic() - begin:.0f} s")
