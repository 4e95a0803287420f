import asyncio

import pytest

from simulators.testing import client
from simulators.testing.client import ApiClient


async def echo(scope, receive, send):
    """Says what it was asked."""
    asked = await receive()
    lines = [
        f"{scope['method']} {scope['path']}?{scope['query_string'].decode()}",
        *(f"{name.decode()}: {value.decode()}" for name, value in scope["headers"]),
        asked["body"].decode(),
    ]
    await send({"type": "http.response.start", "status": 201, "headers": [(b"X-Kind", b"echo")]})
    await send({"type": "http.response.body", "body": "\n".join(lines).encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_request_comes_in_whole_and_its_answer_out():
    answer = ApiClient(echo).get("/batches?a=1", limit=5, since="2026-01-01T00:00:00+01:00", nothing=None)
    assert (answer.status, answer.headers["x-kind"]) == (201, "echo")
    assert answer.text.splitlines()[0] == "GET /batches?a=1&limit=5&since=2026-01-01T00%3A00%3A00%2B01%3A00"
    assert "accept: application/json" in answer.text


def test_a_header_of_the_test_stands_before_the_usual_one():
    answer = ApiClient(echo).get("/", headers={"Accept": "text/html"})
    assert [line for line in answer.text.splitlines() if line.startswith("accept")] == ["accept: text/html"]


def test_a_document_is_posted_as_json():
    answer = ApiClient(echo).post("/simulator/faults", {"kind": "screen_clog", "words": "colmaté"})
    assert answer.text.splitlines()[0] == "POST /simulator/faults?"
    assert "content-type: application/json" in answer.text
    assert answer.text.endswith('{"kind": "screen_clog", "words": "colmat\\u00e9"}')


def test_what_is_to_be_done_before_a_request_is_done_before_it():
    done: list[str] = []

    async def app(scope, receive, send):
        done.append(scope["path"])
        await echo(scope, receive, send)

    ApiClient(app, before=lambda: done.append("before")).get("/a")
    assert done == ["before", "/a"]


def test_a_stream_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch):
    async def stream(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    monkeypatch.setattr(client, "ANSWER_S_MAX", 0.05)
    with pytest.raises(TimeoutError):
        ApiClient(stream).get("/live/events")


def test_an_error_of_the_application_reaches_the_test():
    async def broken(_scope, _receive, _send):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ApiClient(broken).get("/")


def test_an_async_test_may_ask_too():
    async def test() -> int:
        return ApiClient(echo).get("/").status

    assert asyncio.run(test()) == 201
