import json
import re
from typing import Any

import jsonschema
import pytest
from fastapi.testclient import TestClient

from tests.api.workshop import Workshop

PROMISED = {
    "/batches",
    "/batches/{batch_id}",
    "/batches/{batch_id}/trace",
    "/batches/{batch_id}/readings",
    "/batches/{batch_id}/quality",
    "/batches/{batch_id}/certificate",
    "/certificates/{certificate_id}",
    "/certificates/{certificate_id}/readings/{run_id}.parquet",
    "/keys/issuer.pub.pem",
    "/lines",
    "/live/events",
    "/healthz",
    "/readyz",
    "/metrics",
}


@pytest.fixture(scope="module")
def description(filled: Workshop) -> dict[str, Any]:
    made: dict[str, Any] = TestClient(filled.app).get("/openapi.json").json()
    return made


def operations(description: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, operation) for path, methods in description["paths"].items() for operation in methods.values()]


def test_every_promised_operation_is_described(description: dict[str, Any]) -> None:
    assert set(description["paths"]) == PROMISED


def test_every_operation_has_its_own_id_a_summary_a_description_and_a_tag(description: dict[str, Any]) -> None:
    found = operations(description)
    ids = [operation["operationId"] for _, operation in found]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in ids)
    assert all(operation["summary"] and operation["description"] and operation["tags"] for _, operation in found)
    known = {tag["name"] for tag in description["tags"]}
    assert all(set(operation["tags"]) <= known for _, operation in found)


def test_every_problem_is_described_as_one(description: dict[str, Any]) -> None:
    for path, operation in operations(description):
        for status, answer in operation["responses"].items():
            if status >= "400" and path != "/readyz":
                assert list(answer["content"]) == ["application/problem+json"], (path, status)
    assert "HTTPValidationError" not in json.dumps(description)


def test_every_parameter_says_what_it_is(description: dict[str, Any]) -> None:
    for path, operation in operations(description):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (path, parameter["name"])


def test_every_field_of_a_mass_or_a_fraction_says_its_unit(description: dict[str, Any]) -> None:
    for name, schema in description["components"]["schemas"].items():
        for field, content in schema.get("properties", {}).items():
            if field.endswith("_kg"):
                assert "kg" in content.get("description", ""), (name, field)


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(description)):
        assert name in description["components"]["schemas"]


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/batches", "/batches"),
        ("/batches/{batch_id}", "/batches/T1-0002"),
        ("/batches/{batch_id}/trace", "/batches/T1-0002/trace"),
        ("/batches/{batch_id}/readings", "/batches/T1-0002/readings?points=4"),
        ("/batches/{batch_id}/quality", "/batches/T1-0002/quality"),
        ("/lines", "/lines"),
        ("/healthz", "/healthz"),
    ],
)
def test_answers_are_what_the_description_says(
    client: TestClient, description: dict[str, Any], path: str, address: str
) -> None:
    schema = description["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(schema | {"components": description["components"]}).validate(
        client.get(address).json()
    )


@pytest.mark.parametrize("address", ["/batches/nothing", "/batches?limit=0", "/batches/T1-0003/certificate"])
def test_problems_are_what_the_description_says(client: TestClient, description: dict[str, Any], address: str) -> None:
    schema = description["components"]["schemas"]["Problem"]
    jsonschema.Draft202012Validator(schema | {"components": description["components"]}).validate(
        client.get(address).json()
    )


def test_the_description_is_drawn_without_any_other_server(client: TestClient) -> None:
    page = client.get("/docs")
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert client.get(asset).status_code == 200
    licence = client.get("/static/vendor/uplot-1.6.32/LICENSE")
    assert "MIT" in licence.text
    assert "immutable" in licence.headers["cache-control"]
