"""What each answer means."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.sink import Stopped, Unavailable
from sinks.webhook.answers import Answer, Refusal, refusal, retry_after

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
URL = "https://h/k"
NOT_SHOWN = "its words repeat a secret of ours and are not shown"


def meaning(status: int, body: bytes = b"", **headers: str) -> str:
    answer = Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
    try:
        refused = refusal(answer, URL, NOW)
    except Unavailable as error:
        return error.reason
    except Stopped:
        return "stopped"
    if refused is None:
        return "owned"
    return "this" if refused.of_content else "whatever it holds"


ODD = {
    408: "timeout",
    425: "too_early",
    429: "throttled",
    410: "stopped",
    407: "proxy",
    401: "whatever it holds",
    404: "whatever it holds",
    405: "whatever it holds",
    415: "whatever it holds",
}


@pytest.mark.parametrize("status", [100, 101, *range(200, 600), 600, 999])
def test_every_status_means_one_thing(status: int) -> None:
    """2xx owns; 408, 425, 429, 5xx come again; 410 parks; 3xx waits for a person; other 4xx reject."""
    classes = {2: "owned", 3: "redirect", 4: "this", 5: "server_error"}
    assert meaning(status) == ODD.get(status, classes.get(status // 100, "server_error"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999", 999999999.0),
        ("Sat, 28 Nov 2026 12:01:30 GMT", 90.0),
        ("Saturday, 28-Nov-26 12:01:30 GMT", 90.0),
        ("Sat Nov 28 12:01:30 2026", 90.0),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("9" * 400, None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Sat, 99 Nov 2026 12:01:30 GMT", None),
    ],
)
def test_what_a_receiver_asks_to_wait(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds


def test_a_date_is_held_against_the_clock_of_who_wrote_it() -> None:
    """A receiver whose clock is an hour wrong asks for 30 s, not for an hour or for nothing."""
    for hour in (11, 13):
        date = f"Sat, 28 Nov 2026 {hour}:00:00 GMT"
        headers = {"retry-after": f"Sat, 28 Nov 2026 {hour}:00:30 GMT", "date": date}
        assert retry_after(headers, NOW) == 30.0


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_can_break_it_or_make_it_negative(text: str, date: str) -> None:
    seconds = retry_after({"retry-after": text, "date": date}, NOW)
    assert seconds is None or 0 <= seconds < 1e12


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 302])
def test_every_answer_that_comes_again_says_when(status: int) -> None:
    with pytest.raises(Unavailable) as caught:
        refusal(Answer(status, {"retry-after": "7"}), URL, NOW)
    assert caught.value.retry_after == 7.0


def test_a_redirect_names_the_host_it_points_to_and_nothing_more_of_it() -> None:
    answer = Answer(307, {"location": "https://u:p4ssword@login.example/x?token=t0ken"})
    with pytest.raises(Unavailable) as caught:
        refusal(answer, URL, NOW)
    assert str(caught.value) == (
        "https://h/k answered 307 Temporary Redirect and points to login.example; "
        "redirects are not followed: write the address that answers itself as `url`"
    )


@pytest.mark.parametrize("location", ["", "/x", "http://[", "\x00"])
def test_a_redirect_to_nowhere_is_told_all_the_same(location: str) -> None:
    with pytest.raises(Unavailable, match="302 Found; redirects are not followed"):
        refusal(Answer(302, {"location": location}), URL, NOW)


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (
            b"no such field: a\n b",
            "text/plain",
            "https://h/k answered 422 Unprocessable Entity: no such field: a b",
        ),
        (b"", "", "https://h/k answered 422 Unprocessable Entity"),
        (b" <html>", "", "https://h/k answered 422 Unprocessable Entity: a web page"),
        (b"x", "text/html", "https://h/k answered 422 Unprocessable Entity: a web page"),
        (b"\x1b[31mred\xff", "", "https://h/k answered 422 Unprocessable Entity: [31mred\ufffd"),
        (b"x" * 999, "", f"https://h/k answered 422 Unprocessable Entity: {'x' * 200}..."),
        (
            b"you sent t0ken-1",
            "",
            f"https://h/k answered 422 Unprocessable Entity: {NOT_SHOWN}",
        ),
    ],
)
def test_the_receiver_s_own_words_are_told_in_one_clean_line(
    body: bytes, content_type: str, words: str
) -> None:
    refused = refusal(Answer(422, {"content-type": content_type}, body), URL, NOW, (b"t0ken-1",))
    assert refused == Refusal(words, of_content=True)


@pytest.mark.parametrize(
    "body",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<html>400 The plain HTTP request was sent to HTTPS port</html>",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.",
    ],
)
def test_a_400_that_means_the_wrong_protocol_rejects_no_record(body: bytes) -> None:
    with pytest.raises(Unavailable, match="it speaks TLS there; write https://") as caught:
        refusal(Answer(400, {}, body), URL, NOW)
    assert caught.value.reason == "tls"
