"""Which proxy leads to a server: `proxy-url`, HTTP(S)_PROXY and NO_PROXY as kubectl reads them. No I/O here.

httpx would read the environment itself, but without CIDR and suffix rules, so that an API server at 10.x
would be asked for through the corporate proxy ([J4]); and it would read .netrc ([J5]).
The rules are those of Go's golang.org/x/net/http/httpproxy.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from bridge.errors import UsageError
from bridge.kubernetes.auth import Secret

__all__ = ["Proxy", "environment_proxy", "parse_proxy"]

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class Proxy(msgspec.Struct, frozen=True):
    """One proxy; the address never holds its user name and password.

    Attributes:
        url: scheme (http, https, socks5), host and port.
        username: for the proxy, or None.
        password: for the proxy, or None.
    """

    url: str
    username: Secret | None = None
    password: Secret | None = None


def parse_proxy(text: str, where: str) -> Proxy:
    """Read a proxy address as people write it; `host:port` means http.

    Raises:
        UsageError: it cannot be understood; the address is not quoted, it may hold a password.
    """
    wanted = f"{where} is no proxy address: write http://host:port, https://host:port or socks5://host:port"
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise UsageError(wanted) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(wanted)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}"
    if parts.username is None:
        return Proxy(url)
    password = Secret(unquote(parts.password)) if parts.password else None
    return Proxy(url, Secret(unquote(parts.username)), password)


def environment_proxy(server: str, environ: Mapping[str, str]) -> Proxy | None:
    """Find the proxy that the environment wants for this server; None for a direct connection."""
    parts = urlsplit(server)
    name = f"{parts.scheme}_proxy"
    value = environ.get(name.upper()) or environ.get(name)
    host = (parts.hostname or "").rstrip(".")
    if not value or _is_loopback(host):
        return None
    port = parts.port or _PORTS.get(parts.scheme, 0)
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_covers(rule, host, port) for rule in _rules(exceptions)):
        return None
    return parse_proxy(value, f"the environment variable {name.upper()}")


def _rules(text: str) -> Iterator[str]:
    return (rule.strip().lower() for rule in text.split(",") if rule.strip())


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _covers(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    address = _address(host)
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, rule_port = _split_port(rule)
    if rule_port is not None and rule_port != str(port):
        return False
    if address is not None or _address(name) is not None:
        return address == _address(name)
    suffix = name.removeprefix("*")
    return host.endswith(suffix if suffix.startswith(".") else f".{suffix}") or host == suffix


def _split_port(rule: str) -> tuple[str, str | None]:
    """Split `host:port`, `[v6]:port`; a bare IPv6 address has no port."""
    if rule.startswith("["):
        name, _, port = rule[1:].partition("]")
        return name, port.removeprefix(":") or None
    if rule.count(":") == 1:
        name, _, port = rule.partition(":")
        return name, port
    return rule, None
