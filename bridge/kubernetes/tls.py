"""TLS contexts of a connection, when they have to be built anew, and who a server says it is."""

import os
import re
import ssl
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bridge.kubernetes.auth import ClientCertificate, Secret
from bridge.kubernetes.connection import Tls
from bridge.kubernetes.failures import CredentialError

__all__ = ["authority_pem", "build_context", "context_trusting", "describe_certificate", "material_stamp"]

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name: an expired certificate must be nameable."""
_NAMES_SHOWN: Final = 6

Stamp = tuple[tuple[int, int, int] | None, ...]
"""Modification time, size and inode of each file; None for what is no file, or is not there."""


def build_context(tls: Tls, certificate: ClientCertificate | None) -> ssl.SSLContext:
    """Make a context; reads files.

    Args:
        tls: what to trust.
        certificate: what to show, or None.

    Raises:
        CredentialError: a file cannot be read or holds something else; it may be in the middle of a rotation.
    """
    pem = authority_pem(tls)
    try:
        context = ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise CredentialError(f"{_authority_name(tls)} holds a broken certificate") from None
    if pem:
        # Python 3.13 sets it, and then refuses the CAs of EKS and microk8s ([J7]).
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        _load_certificate(context, certificate)
    return context


def authority_pem(tls: Tls) -> str | None:
    """Return the certificates of the cluster's CA, without the comments around them; None without a CA.

    Raises:
        CredentialError: as `build_context`.
    """
    if tls.authority is None:
        return None
    where = _authority_name(tls)
    certificates = _CERTIFICATE.findall(_read(tls.authority, where))
    if not certificates:
        raise CredentialError(f"{where} holds no PEM certificate")
    return "\n".join(certificates)


def material_stamp(tls: Tls, certificate: ClientCertificate | None) -> Stamp:
    """Identify the files as they are now; another stamp means that a context has to be built anew."""
    sources = [tls.authority]
    if certificate:
        sources += [certificate.certificate, None if isinstance(certificate.key, Secret) else certificate.key]
    return tuple(_file_stamp(source) for source in sources)


def context_trusting(certificate: bytes | None) -> ssl.SSLContext:
    """Make a context that only looks: it accepts anybody, or exactly this certificate (DER) at any time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if certificate is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=certificate)
        context.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    return context


def describe_certificate(certificate: Mapping[str, Any]) -> str:
    """Say whose certificate it is, from what `getpeercert` returns."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "IP Address"}]
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    valid = f", for {', '.join(names[:_NAMES_SHOWN])}{more}" if names else ""
    subject, issuer = _name(certificate.get("subject", ())), _name(certificate.get("issuer", ()))
    until = certificate.get("notAfter", "an unknown time")
    return f"a certificate of {subject}, issued by {issuer}{valid}, valid until {until}"


def _authority_name(tls: Tls) -> str:
    return f"the certificate-authority {tls.authority}" if isinstance(tls.authority, Path) else "the CA data"


def _name(parts: Iterable[Iterable[tuple[str, str]]]) -> str:
    short = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}
    fields = [f"{short[key]}={value}" for part in parts for key, value in part if key in short]
    return f'"{", ".join(fields)}"' if fields else "nobody named"


def _file_stamp(source: Path | str | None) -> tuple[int, int, int] | None:
    if not isinstance(source, Path):
        return None
    try:
        # stat follows the links that a mounted Secret swaps.
        status = source.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(source: Path | str, where: str) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.read_bytes().decode("ascii", "ignore")
    except OSError as error:
        raise CredentialError(f"{where} cannot be read: {error.strerror}") from None


def _load_certificate(context: ssl.SSLContext, pair: ClientCertificate) -> None:
    key = pair.key.reveal() if isinstance(pair.key, Secret) else pair.key
    with _as_file(pair.certificate) as certificate_file, _as_file(key) as key_file:
        try:
            # Without a password at hand OpenSSL would ask the terminal for one.
            context.load_cert_chain(certificate_file, key_file, password=_no_password)
        except (OSError, ValueError, TypeError) as error:
            where = f" {pair.certificate}" if isinstance(pair.certificate, Path) else ""
            words = "they are no PEM, or the key is encrypted"
            if isinstance(error, ssl.SSLError) and error.reason:
                words = error.reason.replace("_", " ").lower()
            elif isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
                words = error.strerror
        else:
            return
    raise CredentialError(f"the client certificate{where} and its key cannot be used: {words}")


def _no_password() -> str:
    return ""


@contextmanager
def _as_file(source: Path | str) -> Iterator[str]:
    """Give PEM text a path, which OpenSSL wants, without a private key ever reaching a disk."""
    if isinstance(source, Path):
        yield str(source)
        return
    if not hasattr(os, "memfd_create"):  # not Linux: a file only we can read, for a moment
        with tempfile.NamedTemporaryFile() as file:
            file.write(source.encode())
            file.flush()
            yield file.name
        return
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, source.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
