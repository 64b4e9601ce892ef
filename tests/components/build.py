"""Builds the real components from Go modules, once per machine, into a cache outside the repository.

Each one becomes ``$XDG_CACHE_HOME/kube-bridge/<name>-<version>-<hash of what it is built from>/<name>``.
It is made in a temporary folder that is renamed at the very end, under a file lock: a folder with the final
name is always complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.components.process import spawn, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
CURRENT = "v1.36.3"
OLD = "v1.33.13"
ETCD = "v3.6.8"  # the version that Kubernetes CURRENT requires
HEARTBEAT_SECONDS = 30
# What a KUBEBUILDER_ASSETS folder holds by convention; the other binaries are always our own.
ASSETS = frozenset({"etcd", "kube-apiserver", "kubectl"})


class ComponentUnavailable(Exception):
    """A real component cannot be had on this machine; the message names what is missing."""


class BuildFailed(Exception):
    """The build of a real component failed; the message holds the end of its output."""


@dataclass(frozen=True)
class Component:
    """One binary: name, version, where it comes from, and how long its build took when last measured."""

    name: str
    version: str
    module: str  # the folder, next to this file, whose go.mod and go.sum pin everything it is built from
    package: str
    measured: str

    @property
    def flags(self) -> list[str]:
        """What ``go build`` is told; part of the hash, because the binary depends on it."""
        link = ["-s", "-w"]
        if self.package.startswith("k8s.io/"):
            # Without these the server calls itself v0.0.0 and clients misjudge what it can do.
            major, minor, _ = self.version.removeprefix("v").split(".")
            facts = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor}
            for key, value in facts.items():
                link += ["-X", f"k8s.io/component-base/version.{key}={value}"]
        return ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", " ".join(link)]

    @property
    def folder(self) -> Path:
        """Where the finished build is, or will be."""
        inputs = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            inputs.update((HERE / self.module / name).read_bytes())
        inputs.update("\0".join([self.package, platform.machine(), *self.flags]).encode())
        return cache_folder() / f"{self.name}-{self.version}-{inputs.hexdigest()[:12]}"


def _kubernetes(name: str, measured: str) -> Component:
    return Component(name, CURRENT, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", measured)


def _etcd(name: str, package: str, measured: str) -> Component:
    return Component(name, ETCD, "kubernetes", f"go.etcd.io/etcd/{package}/v3", measured)


# The times are of a cold build in this order on 2 busy cores; later ones profit from the earlier ones.
COMPONENTS = [
    _etcd("etcd", "server", "70 s"),
    _kubernetes("kube-apiserver", "6 min"),
    _kubernetes("kubectl", "45 s"),
    _etcd("etcdctl", "etcdctl", "10 s"),
    _etcd("etcdutl", "etcdutl", "10 s"),
    _kubernetes("kube-controller-manager", "2 min"),
    Component("kube-apiserver", OLD, "kubernetes-1.33", "k8s.io/kubernetes/cmd/kube-apiserver", "6 min"),
]


def binary(name: str, version: str | None = None) -> Path:
    """Returns the path of a component, which is built if it was not; ``version=None`` means the current one.

    Raises:
        ComponentUnavailable: naming what is missing on this machine.
        BuildFailed: with the end of the build's output.
    """
    component = next(c for c in COMPONENTS if c.name == name and version in {None, c.version})
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and name in ASSETS and component.version != OLD:
        path = Path(assets) / name
        if not os.access(path, os.X_OK):
            raise ComponentUnavailable(f"KUBEBUILDER_ASSETS is set, and there is no program {path}")
        return path.absolute()
    return obtain(component.folder, lambda folder: _go_build(component, folder)) / name


def build_all() -> list[Path]:
    """Builds every component that is not built yet, the most wanted first."""
    return [binary(component.name, component.version) for component in COMPONENTS]


def cache_folder() -> Path:
    """The folder of all built components."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kube-bridge"


def obtain(folder: Path, produce: Callable[[Path], None]) -> Path:
    """Returns the folder, filled by ``produce`` if it was not there; two calls at once fill it once."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(folder.name + ".lock"), folder.name):
        if folder.is_dir():
            return folder
        partial = folder.with_name(folder.name + ".partial")
        # We hold the lock, so whoever left this was killed.
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            produce(partial)
            _flush(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(folder)
    return folder


@contextlib.contextmanager
def _locked(lock: Path, what: str) -> Iterator[None]:
    """Holds a file lock, which the kernel lets go when the holder dies; says so when it has to wait."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is building {what}; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _flush(folder: Path) -> None:
    """Puts all files on the disk: a power cut must not leave the rename without the bytes."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _go_build(component: Component, folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise ComponentUnavailable(
            f"needs Go, to build {component.name} {component.version}: there is no `go` on the PATH "
            "(or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl)"
        )
    say(
        f"building {component.name} {component.version} into {folder.parent}, once; "
        f"it took {component.measured} from nothing when last measured, on 2 cores"
    )
    begin = time.monotonic()
    log = folder / "build.log"
    temporary = folder / "tmp"  # in here, what a killed build leaves is removed by the next one
    temporary.mkdir()
    # GOWORK and GOFLAGS of a developer's environment must not change what is built.
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    environment["GOTMPDIR"] = str(temporary)
    command = [go, "build", *component.flags, "-o", str(folder / component.name), component.package]
    with log.open("wb") as output:
        process = spawn(command, output=output, directory=HERE / component.module, environment=environment)
        try:
            code = _wait(process, component, begin)
        finally:
            if process.poll() is None:  # we were interrupted: it goes with the compilers that it has started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        raise BuildFailed(
            f"`go build` of {component.name} {component.version} ended with {code}:\n{tail(log)}"
        )
    shutil.rmtree(temporary)
    say(f"built {component.name} {component.version} in {time.monotonic() - begin:.0f} s")


def _wait(process: subprocess.Popen[bytes], component: Component, begin: float) -> int:
    while True:
        try:
            return process.wait(HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"still building {component.name} {component.version}: {time.monotonic() - begin:.0f} s")


def say(text: str) -> None:
    """Tells a person what goes on, on the standard error."""
    print(f"kube-bridge components: {text}", file=sys.stderr, flush=True)
