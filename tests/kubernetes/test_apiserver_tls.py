"""TLS: whom we trust, who we are, and what is said when it does not fit."""

import datetime as dt
import logging
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization

from bridge.kubernetes.apiserver import ApiServer, CredentialError, Unreachable
from bridge.kubernetes.auth import Anonymous, ClientCertificate, Secret
from bridge.kubernetes.connection import Connection, Tls
from bridge.kubernetes.tls import authority_pem, build_context
from bridge.kubernetes.transport import pool
from tests.kubernetes.wire import Request, reply, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="test cluster")


def pem_of(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def server_context(authority: trustme.CA, *names: str, client_ca: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1",)), common_name="kube-apiserver").configure_cert(context)
    if client_ca:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def issue(authority: trustme.CA, name: str) -> tuple[str, str]:
    leaf = authority.issue_cert(common_name=name)
    return leaf.cert_chain_pems[0].bytes().decode(), leaf.private_key_pem.bytes().decode()


async def ok(_: Request, stream: trio.abc.Stream) -> None:
    await stream.send_all(reply(200, b"{}"))


async def who(_: Request, stream: trio.abc.Stream) -> None:
    """Answers with the name in the client's certificate."""
    assert isinstance(stream, trio.SSLStream)
    certificate = stream.getpeercert() or {}
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    await stream.send_all(reply(200, "".join(names).encode()))


@pytest.mark.parametrize("as_file", [True, False])
async def test_the_cluster_s_ca_is_trusted_as_file_and_as_data(
    authority: trustme.CA, tmp_path: Path, *, as_file: bool
) -> None:
    trusted: Path | str = "# a comment: é\n" + pem_of(authority)
    if as_file:
        (tmp_path / "ca").write_text(str(trusted))
        trusted = tmp_path / "ca"
    async with (
        serving(ok, server_context(authority)) as peer,
        ApiServer(Connection(peer.url, tls=Tls(trusted))) as api,
    ):
        assert (await api.get("/x")).status == 200


async def test_a_certificate_of_another_ca_is_told_with_its_names(authority: trustme.CA) -> None:
    connection_tls = Tls(pem_of(trustme.CA()))
    async with serving(ok, server_context(authority, "127.0.0.1", "api.example")) as peer:
        connection = Connection(peer.url, tls=connection_tls, source='context "dev" of X')
        async with ApiServer(connection) as api:
            with pytest.raises(Unreachable) as caught:
                await api.get("/x")
        # The two looks at the certificate send nothing.
        assert peer.requests == []
    message = str(caught.value)
    assert "is not trusted: " in message
    assert 'a certificate of "O=trustme v' in message
    assert 'CN=kube-apiserver"' in message
    assert 'issued by "O=test cluster' in message
    assert "for api.example, 127.0.0.1" in message or "for 127.0.0.1, api.example" in message
    assert 'We trust the certificate-authority of context "dev" of X' in message


async def test_an_expired_certificate_is_told_with_its_date(authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    authority.issue_cert("127.0.0.1", not_before=past, not_after=past.replace(month=2)).configure_cert(
        context
    )
    async with (
        serving(ok, context) as peer,
        ApiServer(Connection(peer.url, tls=Tls(pem_of(authority)))) as api,
    ):
        with pytest.raises(
            Unreachable, match=r"certificate has expired\. .* valid until Feb  1 00:00:00 2020 GMT"
        ):
            await api.get("/x")


async def test_another_name_is_told_and_tls_server_name_helps(authority: trustme.CA) -> None:
    """[J6]"""
    async with (
        serving(ok, server_context(authority, "kubernetes.default")) as peer,
        ApiServer(Connection(peer.url, tls=Tls(pem_of(authority)))) as api,
    ):
        with pytest.raises(Unreachable, match=r"is for another name .*kubernetes\.default.*tls-server-name"):
            await api.get("/x")
        tls = Tls(pem_of(authority), server_name="kubernetes.default")
        async with ApiServer(Connection(peer.url, tls=tls)) as named:
            assert (await named.get("/x")).status == 200


async def test_insecure_looks_at_nothing(authority: trustme.CA) -> None:
    async with (
        serving(ok, server_context(authority, "other")) as peer,
        ApiServer(Connection(peer.url, tls=Tls(insecure=True))) as api,
    ):
        assert (await api.get("/x")).status == 200


def test_a_cluster_ca_is_not_held_to_what_python_3_13_demands(authority: trustme.CA) -> None:
    """[J7]"""
    context = build_context(Tls(pem_of(authority)), None)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_a_server_without_tls_is_told(nursery: trio.Nursery) -> None:
    async def plain(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    listeners = await nursery.start(partial(trio.serve_tcp, plain, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    async with ApiServer(Connection(f"https://127.0.0.1:{port}")) as api:
        with pytest.raises(Unreachable, match="does not speak TLS: is it a plain http:// address"):
            await api.get("/x")


@pytest.mark.parametrize("as_file", [True, False])
async def test_a_client_certificate_is_shown(authority: trustme.CA, tmp_path: Path, *, as_file: bool) -> None:
    certificate, key = issue(authority, "jane")
    pair = ClientCertificate(certificate, Secret(key))
    if as_file:
        (tmp_path / "crt").write_text(certificate)
        (tmp_path / "key").write_text(key)
        pair = ClientCertificate(tmp_path / "crt", tmp_path / "key")
    async with (
        serving(who, server_context(authority, client_ca=authority)) as peer,
        ApiServer(Connection(peer.url, tls=Tls(pem_of(authority), pair))) as api,
    ):
        assert (await api.get("/x")).body == b"jane"


async def test_replaced_files_are_used_for_new_requests_and_running_streams_go_on(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[K5] [K6]"""
    certificate, key = tmp_path / "crt", tmp_path / "key"

    def become(name: str) -> None:
        for path, text in zip((certificate, key), issue(authority, name), strict=True):
            path.write_text(text)

    gate = trio.Event()

    async def handler(request: Request, stream: trio.abc.Stream) -> None:
        if "watch" not in request.target:
            return await who(request, stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await gate.wait()
        await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")
        return None

    become("jane")
    tls = Tls(pem_of(authority), ClientCertificate(certificate, key))
    monkeypatch.setattr(pool, "_STAMP_SECONDS", 0.0)
    async with (
        serving(handler, server_context(authority, client_ca=authority)) as peer,
        ApiServer(Connection(peer.url, tls=tls)) as api,
        api.stream("/", {"watch": "1"}) as stream,
    ):
        assert await stream.read(5) == b"one"
        assert (await api.get("/x")).body == b"jane"
        become("joan")
        assert (await api.get("/x")).body == b"joan"
        # Half of a rotation: what worked goes on working.
        certificate.write_text(issue(authority, "torn")[0])
        assert (await api.get("/x")).body == b"joan"
        gate.set()
        assert await stream.read(5) == b"two"
        assert await stream.read(5) == b""


async def test_a_certificate_that_a_plugin_renewed_is_used(authority: trustme.CA) -> None:
    """[K4]"""

    class Plugin(Anonymous):
        def become(self, name: str) -> None:
            certificate, key = issue(authority, name)
            self.certificate = ClientCertificate(certificate, Secret(key))
            self.generation += 1

    credentials = Plugin()
    credentials.become("jane")
    async with (
        serving(who, server_context(authority, client_ca=authority)) as peer,
        ApiServer(Connection(peer.url, credentials, Tls(pem_of(authority)))) as api,
    ):
        assert (await api.get("/x")).body == b"jane"
        credentials.become("joan")
        assert (await api.get("/x")).body == b"joan"


async def test_a_client_certificate_that_is_required_and_refused_is_told(authority: trustme.CA) -> None:
    context = server_context(authority, client_ca=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    certificate, key = issue(trustme.CA(), "stranger")
    tls = Tls(pem_of(authority), ClientCertificate(certificate, Secret(key)))
    async with serving(ok, context) as peer, ApiServer(Connection(peer.url, tls=tls, source="X")) as api:
        with pytest.raises(
            Unreachable, match=r"does not accept the client certificate of X|closed the connection"
        ):
            await api.get("/x")


@pytest.mark.parametrize(
    "content", ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_ca_that_is_none_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text(content)
    with pytest.raises(CredentialError, match=r"the certificate-authority .*/ca holds (no|a broken)"):
        build_context(Tls(tmp_path / "ca"), None)
    with pytest.raises(CredentialError, match="cannot be read: No such file"):
        authority_pem(Tls(tmp_path / "nope"))


@pytest.mark.parametrize("spoil", ["key", "certificate", "encrypted", "mismatch", "missing"])
def test_a_client_certificate_that_cannot_be_used_is_told_and_nobody_is_asked_for_a_password(
    authority: trustme.CA, tmp_path: Path, spoil: str
) -> None:
    certificate, key = issue(authority, "u")
    if spoil == "key":
        key = "s3ntinel"
    elif spoil == "certificate":
        certificate = "s3ntinel"
    elif spoil == "encrypted":
        private = serialization.load_pem_private_key(key.encode(), None)
        form = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        key = private.private_bytes(serialization.Encoding.PEM, *form).decode()
    elif spoil == "mismatch":
        key = issue(authority, "v")[1]
    pair = ClientCertificate(certificate, Secret(key))
    if spoil == "missing":
        pair = ClientCertificate(tmp_path / "crt", tmp_path / "key")
    with pytest.raises(
        CredentialError, match=r"the client certificate.* and its key cannot be used: \w"
    ) as caught:
        build_context(Tls(), pair)
    assert "s3ntinel" not in str(caught.value)


def test_httpcore_never_logs_at_debug() -> None:
    assert logging.getLogger("httpcore.socks").getEffectiveLevel() >= logging.WARNING
