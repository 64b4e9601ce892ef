"""Credentials go stale and are renewed, and nobody sees them."""

import json
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trustme
from trio.testing import MockClock

from bridge.kubernetes import exec_plugin
from bridge.kubernetes.auth import Secret, StaticToken, TokenFile, token_expiry
from bridge.kubernetes.exec_plugin import ExecPlugin, ExecSpec
from bridge.kubernetes.failures import CredentialError

SENTINEL = "s3ntinel-value"
V1 = "client.authentication.k8s.io/v1"


async def test_a_rotated_token_file_is_read_again_within_a_minute(
    tmp_path: Path,
    autojump_clock: MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    """[K1]"""
    path = tmp_path / "token"
    path.write_text("one\n")
    token = TokenFile(path)
    assert await token.headers() == {"authorization": "Bearer one"}
    path.write_text("two\n")
    await trio.sleep(59)
    assert await token.headers() == {"authorization": "Bearer one"}
    await trio.sleep(1)
    assert await token.headers() == {"authorization": "Bearer two"}
    path.write_text("three\n")
    assert await token.refresh()
    assert not await token.refresh()
    assert await token.headers() == {"authorization": "Bearer three"}


@pytest.mark.parametrize("damage", ["", "remove", b"\xff\xfe"])
async def test_a_damaged_token_file_keeps_the_last_good_token(
    tmp_path: Path,
    damage: str | bytes,
    autojump_clock: MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    """[K3]"""
    path = tmp_path / "token"
    path.write_text("good")
    token = TokenFile(path)
    await token.headers()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    await trio.sleep(100)
    assert await token.headers() == {"authorization": "Bearer good"}
    with pytest.raises(CredentialError, match=r"the token file .* cannot be used"):
        await TokenFile(path).headers()


@pytest.mark.parametrize("text", [f"{SENTINEL}\nx", f"{SENTINEL}\x00", f"{SENTINEL}é"])
async def test_a_token_no_header_can_carry_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(CredentialError, match="cannot be sent") as caught:
        await TokenFile(path).headers()
    assert SENTINEL not in str(caught.value)
    with pytest.raises(CredentialError):
        StaticToken(Secret(text), "x")


def test_secrets_have_a_safe_repr() -> None:
    assert SENTINEL not in f"{Secret(SENTINEL)} {Secret(SENTINEL)!r} {StaticToken(Secret(SENTINEL), 'x')!r}"


@pytest.mark.parametrize(
    "text", ["Basic x", "Bearer abc", "Bearer a.b.c", "Bearer a.e30.c", "Bearer a.MTI.c", ""]
)
def test_what_is_no_jwt_has_no_expiry(text: str) -> None:
    assert token_expiry(text) is None


Plugin = Callable[..., ExecPlugin]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """Makes a plugin from the body of a Python script, which counts its runs in `runs`."""

    def make(body: str, **options: Any) -> ExecPlugin:
        script = tmp_path / "plugin.py"
        head = f"import json, os, sys\nopen({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        script.write_text(head + textwrap.dedent(body))
        arguments = {"command": sys.executable, "args": ("-S", str(script)), "where": "user u", **options}
        return ExecPlugin(ExecSpec(**arguments))

    return make


def runs(tmp_path: Path) -> int:
    return len((tmp_path / "runs").read_text())


def credential(status: dict[str, Any], **changes: Any) -> str:
    return f"print({json.dumps({'kind': 'ExecCredential', 'apiVersion': V1, 'status': status, **changes})!r})"


async def test_a_plugin_runs_once_for_all_who_wait_and_its_token_is_kept(
    tmp_path: Path, plugin: Plugin
) -> None:
    """[K4]"""
    subject = plugin(credential({"token": "t"}))
    seen = []

    async def ask() -> None:
        seen.append(await subject.headers())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert seen == [{"authorization": "Bearer t"}] * 5
    assert runs(tmp_path) == 1


async def test_an_expired_credential_is_issued_anew(tmp_path: Path, plugin: Plugin) -> None:
    """[K4]"""
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    subject = plugin(credential({"token": "t", "expirationTimestamp": past}))
    await subject.headers()
    await subject.headers()
    assert runs(tmp_path) == 2
    subject = plugin(credential({"token": "t", "expirationTimestamp": "2999-01-01T00:00:00Z"}))
    await subject.headers()
    await subject.headers()
    assert runs(tmp_path) == 3


async def test_a_refresh_runs_it_once_and_says_whether_it_helped(tmp_path: Path, plugin: Plugin) -> None:
    subject = plugin(
        f"token = 't%d' % len(open({str(tmp_path / 'runs')!r}).read())\n"
        f"print(json.dumps({{'kind': 'ExecCredential', 'apiVersion': {V1!r}, 'status': {{'token': token}}}}))"
    )
    assert await subject.headers() == {"authorization": "Bearer t1"}
    assert await subject.refresh()
    assert await subject.headers() == {"authorization": "Bearer t2"}
    # A whole herd of refused watches asks for one more run only.
    assert not await subject.refresh()
    assert runs(tmp_path) == 2


async def test_the_same_token_again_is_no_renewal(plugin: Plugin) -> None:
    subject = plugin(credential({"token": "t"}))
    await subject.headers()
    assert not await subject.refresh()


@pytest.mark.parametrize("version", exec_plugin.API_VERSIONS)
async def test_a_plugin_gets_its_arguments_environment_and_cluster(plugin: Plugin, version: str) -> None:
    body = f"""
    info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
    words = [info["apiVersion"], info["kind"], info["spec"]["cluster"]["server"]]
    words += [str(info["spec"]["interactive"]), os.environ["EXTRA"], sys.argv[1], str("PATH" in os.environ)]
    status = {{"token": "|".join(words)}}
    print(json.dumps({{"kind": "ExecCredential", "apiVersion": {version!r}, "status": status}}))
    """
    subject = plugin(
        body, api_version=version, cluster={"server": "https://c"}, env=(("EXTRA", Secret("e")),)
    )
    subject._spec = msgspec.structs.replace(subject._spec, args=(*subject._spec.args, "--arg"))
    headers = await subject.headers()
    assert headers == {"authorization": f"Bearer {version}|ExecCredential|https://c|False|e|--arg|True"}


async def test_a_plugin_may_bring_a_client_certificate(plugin: Plugin) -> None:
    issued = trustme.CA().issue_cert("u")
    pair = {
        "clientCertificateData": issued.cert_chain_pems[0].bytes().decode(),
        "clientKeyData": issued.private_key_pem.bytes().decode(),
    }
    subject = plugin(credential(pair))
    assert subject.generation == 0
    assert await subject.headers() == {}
    assert subject.generation == 1
    assert subject.certificate is not None
    assert "PRIVATE KEY" not in repr(subject.certificate)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "sys.exit('sso session\\nexpired, run: login')",
            "failed with exit code 1: sso session expired, run: login$",
        ),
        ("sys.exit(3)", "failed with exit code 3$"),
        (f"sys.stderr.write('x' * 100000 + {SENTINEL!r}); sys.exit(1)", r"exit code 1: x{400}\.\.\.$"),
        ("sys.stderr.write('\\x1b[2J bad'); sys.exit(1)", r"exit code 1: \[2J bad$"),
        (f"print({SENTINEL!r})", "did not print an ExecCredential"),
        (f"print([{SENTINEL!r}])", "did not print an ExecCredential"),
        (credential({"token": SENTINEL}, kind="Secret"), "did not print an ExecCredential"),
        (
            credential({"token": SENTINEL}, apiVersion=f"{V1}beta1"),
            "answered in another apiVersion than .*/v1$",
        ),
        (credential({}), "neither a token nor a client certificate"),
        (credential({"token": 7}), "not text"),
        (credential({"clientCertificateData": SENTINEL}), "only a certificate or only a key"),
        (credential({"token": SENTINEL, "expirationTimestamp": SENTINEL}), "is no time"),
        (credential({"token": f"{SENTINEL}\n"}), "cannot be sent"),
        ("", "did not print an ExecCredential"),
    ],
)
async def test_a_failing_plugin_is_told_with_its_own_words_but_not_its_output(
    plugin: Plugin, body: str, words: str
) -> None:
    with pytest.raises(CredentialError, match=words) as caught:
        await plugin(body).headers()
    assert SENTINEL not in str(caught.value)
    assert "of user u" in str(caught.value)


async def test_what_a_plugin_got_in_its_environment_is_not_told(plugin: Plugin) -> None:
    subject = plugin("sys.exit('bad key ' + os.environ['KEY'])", env=(("KEY", Secret(SENTINEL)),))
    with pytest.raises(CredentialError, match=r"bad key \*\*\*$"):
        await subject.headers()


async def test_a_missing_plugin_is_told_with_its_install_hint() -> None:
    subject = ExecPlugin(ExecSpec("no-such-plugin", install_hint="brew install it", where="user u"))
    with pytest.raises(CredentialError, match=r"no-such-plugin of user u is not installed: brew install it$"):
        await subject.headers()


async def test_a_plugin_that_is_no_program_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("x")
    with pytest.raises(CredentialError, match="cannot be run: Permission denied"):
        await ExecPlugin(ExecSpec(str(path), where="u")).headers()


async def test_a_plugin_that_hangs_is_stopped(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_plugin, "RUN_SECONDS", 0.3)
    with pytest.raises(CredentialError, match=r"did not answer within 0.3 s and was stopped"):
        await plugin("import time; time.sleep(60)").headers()


async def test_a_plugin_that_must_ask_a_person_is_not_run_without_a_terminal(plugin: Plugin) -> None:
    with pytest.raises(CredentialError, match="stdin is no terminal"):
        await plugin(credential({"token": "t"}), interactive="Always").headers()
