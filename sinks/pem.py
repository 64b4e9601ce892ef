"""Certificates and keys as PEM files: whether TLS can be made of them, and the sentence if not."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["authorities_problem", "identity_problem", "load_identity", "useless"]

_NO_PEM: Final = "it holds no PEM, or an encrypted key"


class _Encrypted(ValueError):
    """The key wants a password."""


def useless(path: Path, error: Exception, *, also: str = "") -> str:
    """The sentence for a file of which no TLS can be made."""
    words = _NO_PEM
    if isinstance(error, ssl.SSLError):
        words = error.reason.replace("_", " ").lower() if error.reason else words
    elif isinstance(error, OSError) and error.strerror:
        words = error.strerror
    return f"{str(path)!r}{also} cannot be used ({words}); write PEM files that this user may read"


def load_identity(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Load our certificate and its key.

    Raises:
        OSError: a file cannot be read; as SSLError: it holds something else, or they do not match.
        ValueError: the key is encrypted.
    """
    # Without a password at hand OpenSSL would ask the terminal for one.
    context.load_cert_chain(certificate, key, password=_no_password)


def authorities_problem(ca: Path | None) -> Iterator[str]:
    """What is wrong with authorities to trust; a file that cannot be read is told elsewhere."""
    if ca is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
    except (ssl.SSLError, ValueError) as error:
        yield useless(ca, error)
    except OSError:
        return


def identity_problem(certificate: Path | None, key: Path | None, *, encrypted: bool = False) -> Iterator[str]:
    """What is wrong with our certificate and its key, as `authorities_problem`.

    Args:
        certificate: its file, with its chain.
        key: its file; None: it stands in the file of the certificate.
        encrypted: a password may be known elsewhere, so an encrypted key is not looked into.
    """
    if certificate is None:
        return
    try:
        load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    except _Encrypted as error:
        if not encrypted:
            yield useless(certificate, error, also=" and its key")
    except (ssl.SSLError, ValueError) as error:
        yield useless(certificate, error, also=" and its key")
    except OSError:
        return


def _no_password() -> str:
    raise _Encrypted
