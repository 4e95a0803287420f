"""The API without a server: a request goes into the application and its answer comes back, in the same call."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

ANSWER_S_MAX = 30.0
"""An answer takes at most so long; a live stream never ends, and needs a server."""
HOST = "testserver"

Application = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""An ASGI application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API said."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON. Raises ValueError: it is none."""
        return json.loads(self.body)


class ApiClient:
    """Asks an ASGI application. `before` is called before each request."""

    def __init__(self, app: Application, *, before: Callable[[], object] = lambda: None) -> None:
        self.app = app
        """For a client of your own: `httpx.ASGITransport(app=…)`, say."""
        self._before = before

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, **parameters: object) -> Answer:
        """GET; `parameters` are those of the query. As `request`."""
        query = urlencode([(name, str(value)) for name, value in parameters.items() if value is not None])
        return self.request("GET", path + (f"{'&' if '?' in path else '?'}{query}" if query else ""), headers=headers)

    def post(self, path: str, document: object, *, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a document as JSON. As `request`."""
        told = {"content-type": "application/json", **(headers or {})}
        return self.request("POST", path, headers=told, body=json.dumps(document).encode())

    def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """One request, to the end of its answer.

        It may be called from an `async` test, whose loop waits meanwhile.

        Raises TimeoutError: no end of it after ANSWER_S_MAX.
        """
        self._before()
        split = urlsplit(path)
        wanted = {"host": HOST, "accept": "application/json", **{k.lower(): v for k, v in (headers or {}).items()}}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": split.path,
            "raw_path": quote(split.path, safe="/%:").encode(),
            "query_string": split.query.encode(),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in wanted.items()],
            "client": ("127.0.0.1", 50_000),
            "server": (HOST, 80),
        }
        with ThreadPoolExecutor(max_workers=1) as apart:  # a loop of its own, whether or not one runs here
            return apart.submit(asyncio.run, _answer(self.app, scope, body)).result()


async def _answer(app: Application, scope: MutableMapping[str, Any], body: bytes) -> Answer:
    return await asyncio.wait_for(_exchange(app, scope, body), ANSWER_S_MAX)


async def _exchange(app: Application, scope: MutableMapping[str, Any], body: bytes) -> Answer:
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    ended = asyncio.Event()
    head: MutableMapping[str, Any] = {}
    parts: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        if asked:
            return asked.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                ended.set()

    await app(scope, receive, send)
    return Answer(
        status=head["status"],
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head["headers"]},
        body=b"".join(parts),
    )
