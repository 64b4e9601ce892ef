"""A state that ends with the pod is found before it is lost."""

import json
from pathlib import Path

import pytest

from bridge.config import load
from bridge.runtime import preflight
from bridge.runtime.volume import short_lived
from bridge.simulator import Simulator

_NODE = "/var/lib/kubelet/pods/6f1d/volumes"
_MOUNTS = f"""\
500 400 0:100 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b
501 500 0:101 / /memory rw,nosuid - tmpfs shm rw
502 500 8:1 {_NODE}/kubernetes.io~empty-dir/scratch /scratch rw,relatime - ext4 /dev/sda1 rw
503 502 8:16 / /scratch/state rw,relatime - ext4 /dev/sdb rw
504 500 8:16 / /with\\040space rw - xfs /dev/sdc rw
505 500 0:102 / /ram rw - ramfs none rw
506 505 8:32 / /ram rw - ext4 /dev/sdd rw
"""

PLACES = [
    ("/var/lib/kube-bridge", "the container's own file system (overlay)"),
    ("/memory/state", "memory (tmpfs)"),
    ("/scratch", "an emptyDir volume"),
    ("/scratch/deeper/down", "an emptyDir volume"),
    ("/scratch/state", ""),
    ("/scratch/state/deeper", ""),
    ("/scratchy", "the container's own file system (overlay)"),
    ("/with space/state", ""),
    ("/ram/state", ""),
]


@pytest.mark.parametrize(("path", "what"), PLACES)
def test_what_ends_with_the_pod_is_told_by_the_innermost_mount(path: str, what: str, tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(_MOUNTS)
    assert short_lived(Path(path), mountinfo) == what


def test_a_kernel_that_says_nothing_raises_no_suspicion(tmp_path: Path) -> None:
    assert short_lived(tmp_path, tmp_path / "absent") == ""


@pytest.mark.parametrize("place", ["memory (tmpfs)", ""])
async def test_check_warns_of_a_state_that_ends_with_the_pod_and_is_still_content(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "short_lived", lambda _: place)
    async with Simulator().serve() as url:
        kubeconfig = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "current-context": "c",
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
        config = {
            "configVersion": 1,
            "cluster": {"name": "test", "kubeconfig": str(tmp_path / "kubeconfig")},
            "state": {"path": str(tmp_path / "state")},
            "streams": [{"name": "pods", "apiVersion": "v1", "kind": "Pod"}],
            "sinks": [{"name": "out", "type": "jsonlines", "path": "-"}],
        }
        (tmp_path / "bridge.yaml").write_text(json.dumps(config))
        assert await preflight.check(load(tmp_path / "bridge.yaml")) == 0
    said = capsys.readouterr().out
    assert said.endswith("ok\n")
    assert ("warning: " in said, f"is on {place}," in said) == (bool(place), bool(place))
