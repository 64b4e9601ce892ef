"""The pages of the HTTP server: /livez and /readyz as Kubernetes writes its own, and /metrics."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from bridge.operations.http import App, Request, Response

__all__ = ["Checks", "Scrape", "pages"]

Checks = Callable[[], Mapping[str, str]]
"""Each check with what is wrong with it in one sentence, "" for nothing. Whoever asks sees it."""

Scrape = Callable[[str], tuple[str, bytes]]
"""From an Accept header to content type and body."""


def pages(*, livez: Checks, readyz: Checks, metrics: Scrape) -> App:
    """What the server answers.

    `?verbose` names each check, as does every failure; `?exclude=<check>` leaves one out.
    """
    probes = {"/livez": livez, "/readyz": readyz}

    def app(request: Request) -> Response:
        if request.path in probes:
            return _probe(request.path.removeprefix("/"), probes[request.path](), request.query)
        if request.path == "/metrics":
            content_type, body = metrics(request.headers.get("accept", ""))
            return Response(HTTPStatus.OK, body, content_type)
        return Response(HTTPStatus.NOT_FOUND, b"not found; there are /livez, /readyz and /metrics\n")

    return app


def _probe(name: str, checks: Mapping[str, str], query: Mapping[str, str]) -> Response:
    counted = {check: wrong for check, wrong in checks.items() if check != query.get("exclude")}
    failed = any(counted.values())
    if not failed and "verbose" not in query:
        return Response(HTTPStatus.OK, b"ok")
    lines = [
        f"[-]{check} failed: {_one_line(wrong)}" if wrong else f"[+]{check} ok"
        for check, wrong in counted.items()
    ]
    lines.append(f"{name} check {'failed' if failed else 'passed'}")
    status = HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK
    return Response(status, "\n".join((*lines, "")).encode())


def _one_line(text: str) -> str:
    return " ".join(text.split())
