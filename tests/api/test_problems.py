import inspect
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

import filiere.errors
from api import problems
from api.edge import HEADERS
from api.problems import KINDS, Kind
from filiere.errors import FiliereError, PlantError, SettingsError, StoreRefused, StoreUnavailable
from tests.api.conftest import HTML
from tests.api.workshop import Workshop

LONG = "A" * 10_000
IDS = [
    "",
    "%00",
    "a%00b",
    LONG,
    "%F0%9F%A7%B5",
    "é",
    "a b",
    "-a",
    "%2e%2e",
    "'%20OR%201=1--",
    "<script>",
    "a;b",
    "A" * 65,
]
SHARED_FIELDS = {"type", "title", "status", "detail", "instance"}


@pytest.fixture
def failing(filled: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client whose lots page fails with whatever `fail` is set to."""
    yield TestClient(filled.app, raise_server_exceptions=False)
    monkeypatch.undo()


def fail_with(monkeypatch: pytest.MonkeyPatch, workshop: Workshop, error: Exception) -> None:
    def raised(_line: str) -> None:
        raise error

    monkeypatch.setattr(type(workshop.store), "latest", lambda _self, line: raised(line))


def test_every_error_of_the_tree_has_a_place() -> None:
    tree = {
        error
        for _, error in inspect.getmembers(filiere.errors, inspect.isclass)
        if issubclass(error, FiliereError) and error is not FiliereError
    }
    mapped = {error for error, _ in problems.BY_ERROR}
    assert tree - mapped == {PlantError, SettingsError}, "an error that is not mapped is the server's own fault"


def test_every_kind_has_its_own_name_and_both_languages() -> None:
    assert len({kind.slug for kind in KINDS}) == len(KINDS)
    assert all(kind.title.fr and kind.title.en and kind.advice.fr and kind.advice.en for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)
def test_the_type_of_a_problem_links_to_its_paragraph(client: TestClient, kind: Kind) -> None:
    page = client.get("/problems", headers=HTML).text
    assert f'id="{kind.type.partition("#")[2]}"' in page


@pytest.mark.parametrize("wrong", IDS)
@pytest.mark.parametrize(
    "template",
    [
        "/batches/{}",
        "/batches/{}/trace",
        "/batches/{}/readings",
        "/batches/{}/quality",
        "/batches/{}/certificate",
        "/certificates/{}",
        "/certificates/{}.json",
        "/certificates/T1-0002-r1/readings/{}.parquet",
    ],
)
def test_no_id_breaks_anything(client: TestClient, template: str, wrong: str) -> None:
    answer = client.get(template.format(wrong))
    assert answer.status_code in ((200, 404, 422) if wrong == "" else (404, 422))
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) >= SHARED_FIELDS
        assert len(answer.content) < 4000, "what was sent is not repeated at length"


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "-1"},
        {"limit": "NaN"},
        {"limit": "9" * 400},
        {"state": "gone"},
        {"cursor": LONG},
        {"line": LONG},
        {"material": "a\0b"},
        {"material": "\u202e"},
        {"line": "' OR 1=1; DROP TABLE event; --"},
        {"cursor": "\0"},
        {"cursor": ""},
    ],
)
def test_no_query_breaks_the_list(client: TestClient, query: dict[str, str]) -> None:
    answer = client.get("/batches", params=query)
    assert answer.status_code in (400, 404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_wrong_parameter_is_named(client: TestClient) -> None:
    problem = client.get("/batches", params={"limit": "0"}).json()
    assert problem["errors"] == [{"where": "query.limit", "detail": "Input should be greater than or equal to 1"}]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/batches", "/certificates/T1-0002-r1", "/live", "/metrics", "/", "/static/site.css"])
def test_nothing_can_be_written(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/batches", "/certificates/T1-0002-r1", "/", "/healthz", "/static/site.css", "/docs"])
def test_head_is_get_without_a_body(client: TestClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize(
    "path", ["/batches", "/nothing", "/batches/%00", "/live", "/readyz", "/static/site.css", "/docs"]
)
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    for name, value in HEADERS.items():
        assert headers[name] == value or (name == "Content-Security-Policy" and path == "/docs")
    assert "script-src 'self';" in headers["content-security-policy"]


def test_an_unexpected_error_tells_a_stranger_only_an_incident_number(
    failing: TestClient, filled: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, filled, RuntimeError("password=hunter2 in /secret/path"))
    with capture_logs() as logged:
        answer = failing.get("/lines")
        page = failing.get("/lines", headers=HTML)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["incident"]) == 8
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert logged[0]["incident"] == answer.json()["incident"]
    assert "hunter2" in str(logged[0]["exc_info"])
    assert "incident" in page.text
    assert "hunter2" not in page.text


@pytest.mark.parametrize(
    ("error", "status"), [(StoreUnavailable("http://influx:8086 down"), 503), (StoreRefused("token abc"), 502)]
)
def test_a_store_that_fails_is_said_without_its_address(
    failing: TestClient, filled: Workshop, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    fail_with(monkeypatch, filled, error)
    with capture_logs() as logged:
        answer = failing.get("/lines")
    assert str(error) in str(logged)
    assert answer.status_code == status
    assert str(error) not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


def test_an_error_of_the_servers_own_is_a_500(
    failing: TestClient, filled: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, filled, SettingsError("FILIERE_INFLUX_TOKEN: got nothing"))
    with capture_logs() as logged:
        answer = failing.get("/lines")
    assert "TOKEN" in str(logged)
    assert answer.status_code == 500
    assert "TOKEN" not in answer.text


def test_a_page_that_is_not_there_is_a_page_for_a_browser(client: TestClient) -> None:
    answer = client.get("/nothing?lang=en", headers=HTML)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "Not found" in answer.text


def test_only_reading_is_allowed_and_both_ways_are_named(client: TestClient) -> None:
    assert client.post("/batches").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/batches", "/batches/T1-0002", "/lines", "/openapi.json", "/healthz"])
def test_what_changes_is_asked_again(client: TestClient, path: str) -> None:
    assert client.get(path).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/batches", "/batches/T1-0002"])
def test_an_address_for_both_says_that_accept_decides(client: TestClient, path: str) -> None:
    assert client.get(path).headers["vary"] == "Accept"


def test_nobody_is_led_to_the_host_that_a_header_names(client: TestClient) -> None:
    answer = client.get("/batches/T1-0002/", headers={"host": "elsewhere.example"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "location" not in answer.headers
