"""The outermost layer: security headers, HEAD as GET without a body, the count of requests, the last catch.

Plain ASGI, so that a stream passes through untouched.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from api.problems import internal_error

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
DOCS_POLICY = CONTENT_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
    "img-src 'self'", "img-src 'self' data:"
)
"""Swagger UI writes style attributes and has its pictures in its style sheet; it still runs no script but its own."""
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
VENDOR_PREFIX = "/static/vendor/"
"""Folders under it carry their version in their name: their files never change."""
FOREVER = "public, max-age=31536000, immutable"
STREAM_PATH = "/live/events"
UNMATCHED = "unmatched"
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class RequestCounts:
    """How often each route was asked, what it answered and how long it took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "filiere_http_requests", "Requests answered", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "filiere_http_request_seconds",
            "Time to the end of the answer, s",
            ("route",),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )

    def add(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        """Count one. The route's template is the label, never the path: a stranger cannot make new series."""
        route = getattr(scope.get("route"), "path", UNMATCHED)
        known = method if method in ("GET", "HEAD") else "other"
        self._requests.labels(known, route, str(status)).inc()
        if route != STREAM_PATH:
            self._seconds.labels(route).observe(seconds)


class Edge:
    """Wraps the application."""

    def __init__(self, app: App, *, counts: RequestCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method: str = scope["method"]
        headless = method == "HEAD" and scope["path"] != STREAM_PATH
        if headless:
            scope["method"] = "GET"
        started = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(scope["path"], MutableHeaders(raw=message["headers"]))
            elif headless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            if status:  # the answer has begun: nothing true can be added to it
                raise
            await internal_error(Request(scope), error)(scope, receive, answer)
        finally:
            self._counts.add(scope, method, status, time.perf_counter() - started)


def _add_headers(path: str, headers: MutableHeaders) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", FOREVER if path.startswith(VENDOR_PREFIX) else "no-cache")
