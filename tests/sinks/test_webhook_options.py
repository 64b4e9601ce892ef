"""The options of a webhook: what a configuration may say, and one sentence for what it may not."""

from typing import Any

import pytest

from bridge.config import ConfigError, Secret, loads
from bridge.delivery.sink import Owning
from sinks.webhook.auth import AuthOptions, BasicOptions, OAuth2Options
from sinks.webhook.sink import Webhook
from tests.sinks.receiver import SECRET

START = """\
cluster: {name: c1}
state: {path: /s}
streams: [{name: pods, resource: pods}]
sinks:
- name: hook
  type: webhook
"""


def configured(lines: str) -> Any:
    return loads(START + lines, "c.yaml", check_files=False).sinks[0].options


def problem(lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(lines)
    return str(caught.value).removeprefix("c.yaml:")


def test_every_option_is_taken_as_written() -> None:
    found = configured(
        f"""\
  format: cloudevents
  url: https://hook.example:8443/k8s?x=1
  method: PUT
  headers: {{x-a: 1, x-b: {{env: B}}}}
  auth: {{oauth2: {{tokenUrl: "https://i/t", clientId: id, clientSecret: {{env: S}}, scopes: [a]}}}}
  tls: {{ca: /ca, certificate: /c, key: /k}}
  signingSecret: [{{file: /a}}, {SECRET}]
  cloudEvents: binary
  compression: gzip
  timeout: 5s
  concurrency: 16
  proxy: {{env: HTTPS_PROXY}}
"""
    )
    assert isinstance(found, Webhook)
    assert found.url == "https://hook.example:8443/k8s?x=1"
    assert dict(found.headers) == {"x-a": Secret(value=b"1"), "x-b": Secret(env="B")}
    assert found.auth == AuthOptions(
        oauth2=OAuth2Options("https://i/t", "id", Secret(env="S"), scopes=("a",))
    )
    assert found.tls is not None
    assert found.tls.insecure is False
    assert len(found.signing_secret) == 2
    assert (found.method, found.cloud_events, found.compression) == ("PUT", "binary", "gzip")
    assert (found.timeout, found.concurrency, found.proxy) == (5.0, 16, Secret(env="HTTPS_PROXY"))


def test_check_is_told_when_a_record_is_the_receivers() -> None:
    sink = configured("  url: http://h\n")
    assert isinstance(sink, Owning)
    assert sink.ownership == "answered with 2xx"


@pytest.mark.parametrize(
    "option",
    [
        "method: PUT",
        "headers: {x-a: {env: HOOK_KEY}}",
        "auth: {bearer: {env: TOKEN}}",
        "tls: {ca: /ca}",
        "signingSecret: {env: HOOK_SECRET}",
        "compression: gzip",
        "timeout: 5s",
        "concurrency: 16",
        "proxy: {env: HTTPS_PROXY}",
    ],
)
def test_how_requests_are_made_is_not_which_destination_it_is(option: str) -> None:
    """A cursor belongs to a destination, which `destination` tells: tuning one costs no snapshot."""
    url = "  url: https://hook.example\n"
    assert configured(f"{url}  {option}\n").destination == configured(url).destination
    assert configured(url).destination != configured("  url: https://other.example\n").destination


def test_a_url_is_enough_and_one_secret_needs_no_list() -> None:
    assert configured("  url: http://h\n") == Webhook("http://h")
    assert configured(f"  url: http://h\n  signingSecret: {SECRET}\n").signing_secret == (
        Secret(value=SECRET.encode()),
    )
    basic = configured("  url: http://h\n  auth: {basic: {username: u, password: p}}\n").auth
    assert basic == AuthOptions(basic=BasicOptions("u", Secret(value=b"p")))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://h", "write https://HOST/PATH"),
        ("hook.example/x", "write https://HOST/PATH"),
        ("https://", "write https://HOST/PATH"),
        ("https:///x", "write https://HOST/PATH"),
        ("https://h:99999/", "its port is none"),
        ("https://[::1/", "it cannot be read"),
        ("https://h/a b", "it has blanks or control characters"),
        ("https://u:p4ss@h/", "write user and password into `auth.basic`"),
        ("https://h/#x", "a receiver never sees what follows `#`"),
        (f"https://{'a' * 64}.example/", "its host is no name of one"),
        ("https://a..example/", "its host is no name of one"),
    ],
)
def test_an_address_that_cannot_be_sent_to_is_told(url: str, words: str) -> None:
    said = problem(f'  url: "{url}"\n')
    assert said.startswith("7: sinks[0].url: ")
    assert "is not an http or https URL: " in said
    assert words in said
    assert "p4ss" not in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("headers: {a b: x}", "7: sinks[0].headers: has a header 'a b', which is no name of one"),
        (
            "headers: {Webhook-Id: x}",
            "7: sinks[0].headers: has the header 'Webhook-Id', which the bridge sets itself",
        ),
        ("headers: {ce-id: x}", "which the bridge sets itself"),
        ("headers: {content-length: 1}", "which the bridge sets itself"),
        ("headers: {host: x}", "which the bridge sets itself"),
        ("headers: {x-a: b, X-A: c}", "has the header 'x-a' twice"),
        ('headers: {x-a: "b\\nc"}', "headers: `x-a` holds line breaks"),
        ("headers: {authorization: x}\n  auth: {bearer: y}", "keep one of the two"),
        (
            "signingSecret: []",
            "7: sinks[0].signingSecret: is an empty list; write a secret, or leave the key",
        ),
        ("auth: {}", "7: sinks[0].auth: needs exactly one of bearer, basic and oauth2"),
        ("auth: {bearer: x, basic: {username: u, password: p}}", "exactly one of"),
        ("auth: {basic: {username: 'u:v', password: p}}", "has a user name with a colon"),
        ("auth: {oauth2: {tokenUrl: h, clientId: i, clientSecret: s}}", "is not an http or https URL"),
        ("signingSecret: s3ntinel", "7: sinks[0].signingSecret: a signing secret has 6 bytes"),
        (
            "signingSecret: 's3ntinel !'",
            "sinks[0].signingSecret: a signing secret is not base64; write `whsec_`",
        ),
        (
            "proxy: http://s3ntinel..h",
            "sinks[0].proxy: is not the address of a proxy; write http://HOST:PORT",
        ),
        ("proxy: ftp://s3ntinel@h", "sinks[0].proxy: is not the address of a proxy; write http://HOST:PORT"),
        ("tls: {key: /k}", "sinks[0].tls.key: is without its certificate"),
        (
            "tls: {ca: /c, insecure: true}",
            "sinks[0].tls.ca: `insecure` is there too, so nothing is held against it",
        ),
        ("timeout: 0s", "7: sinks[0].timeout: `0s` is out of bounds"),
        ("concurrency: 0", "7: sinks[0].concurrency: `0` is out of bounds"),
        ("cloudEvents: binary", "7: sinks[0].cloudEvents: `binary` needs CloudEvents; write `format: cloud"),
        ("cloudEvents: cbor", "write structured, binary or batch"),
        ("method: GET", "write POST, PUT or PATCH"),
        ("compression: br", "write gzip"),
    ],
)
def test_an_option_that_cannot_work_is_told_without_its_secret(line: str, words: str) -> None:
    said = problem(f"  {line}\n  url: https://h\n")
    assert words in said
    assert "s3ntinel" not in said


def test_tls_for_an_address_without_it_is_told() -> None:
    assert "sinks[0].tls: is for a url that is http://" in problem("  url: http://h\n  tls: {ca: /c}\n")
    issuer = "  auth: {oauth2: {tokenUrl: 'https://i', clientId: i, clientSecret: s}}\n"
    assert configured(f"  url: http://h\n  tls: {{ca: /c}}\n{issuer}").tls is not None


@pytest.mark.parametrize("missing", ["file", "empty file", "env"])
def test_a_secret_that_is_not_there_is_told_with_its_source(missing: str, tmp_path: Any) -> None:
    path = tmp_path / "secret"
    if missing == "empty file":
        path.touch()
    source = "{env: NO_SUCH_VARIABLE}" if missing == "env" else f"{{file: {path}}}"
    with pytest.raises(ConfigError) as caught:
        loads(f"{START}  url: http://h\n  signingSecret: {source}\n", "c.yaml", check_files=True)
    assert "c.yaml:8: sinks[0].signingSecret: " in str(caught.value)
    assert ("NO_SUCH_VARIABLE" if missing == "env" else str(path)) in str(caught.value)
