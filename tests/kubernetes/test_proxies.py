"""HTTP(S)_PROXY, NO_PROXY and proxy-url mean what they mean to kubectl [J4]."""

import pytest

from bridge.errors import UsageError
from bridge.kubernetes.proxies import environment_proxy, parse_proxy

PROXY = "http://proxy.corp:3128"


@pytest.mark.parametrize(
    ("server", "no_proxy", "proxied"),
    [
        ("https://10.96.0.1:443", "10.0.0.0/8", False),
        ("https://11.96.0.1:443", "10.0.0.0/8", True),
        ("https://10.96.0.1:443", "10.96.0.1", False),
        ("https://10.96.0.1:6443", "10.96.0.1:443", True),
        ("https://10.96.0.1:443", "10.96.0.1:443", False),
        ("https://10.96.0.1", "10.96.0.1:443", False),
        ("https://api.example.com", "example.com", False),
        ("https://example.com", "example.com", False),
        ("https://api.example.com", ".example.com", False),
        ("https://example.com", ".example.com", True),
        ("https://api.example.com", "*.example.com", False),
        ("https://badexample.com", "example.com", True),
        ("https://API.Example.com", "example.COM", False),
        ("https://api.example.com:6443", "example.com:6443", False),
        ("https://api.example.com:6443", "example.com:443", True),
        ("https://anything", "*", False),
        ("https://anything", "other, *", False),
        ("https://anything", "", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", False),
        ("https://[fd00::1]:6443", "fd00::1", False),
        ("https://[fd00::1]:6443", "[fd00::1]:443", True),
        ("https://10.0.0.1", "not/a/network,300.1.1.1/8", True),
        ("https://localhost:6443", "", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://[::1]:6443", "", False),
    ],
)
def test_no_proxy_rules_are_gos(server: str, no_proxy: str, *, proxied: bool) -> None:
    found = environment_proxy(server, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert (found is not None) == proxied


def test_each_scheme_has_its_variable_and_capitals_win() -> None:
    environ = {"HTTPS_PROXY": PROXY, "https_proxy": "http://other:1", "http_proxy": "socks5://plain"}
    secure, plain = environment_proxy("https://a", environ), environment_proxy("http://a", environ)
    assert secure is not None
    assert secure.url == PROXY
    assert plain is not None
    assert plain.url == "socks5://plain:1080"
    assert environment_proxy("https://a", {"ALL_PROXY": PROXY}) is None


def test_an_address_without_scheme_is_http_and_credentials_leave_the_address() -> None:
    proxy = parse_proxy("me:p%40ss@proxy.corp:8080", "here")
    assert proxy.url == "http://proxy.corp:8080"
    assert proxy.username is not None
    assert proxy.username.reveal() == "me"
    assert proxy.password is not None
    assert proxy.password.reveal() == "p@ss"
    assert "p@ss" not in repr(proxy)


@pytest.mark.parametrize(
    "text", ["ftp://sentinel@proxy", "http://sentinel@proxy:port", "http://", "http://[sentinel"]
)
def test_a_bad_address_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(UsageError, match="the proxy-url of x is no proxy address") as caught:
        parse_proxy(text, "the proxy-url of x")
    assert "sentinel" not in str(caught.value)
