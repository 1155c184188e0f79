"""The API follows its OpenAPI document, whatever the document allows and a little more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

from train.service.app import create_app
from train.service.pages import docs_page
from train.service.served import Keeper
from train.service.settings import ServiceSettings

#: What JSON Schema cannot say of a table (rows as long as the header), and methods that a page's file answers.
OPERATIONS = [
    ("/v1/label", "POST"),
    ("/invocations", "POST"),
    *((f"/{path}", "GET") for path in "v1/model ping version health/live health/ready metrics".split()),
]
_LEFT_OUT = ("positive_data_acceptance", "unsupported_method")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Keeper(str(folder)), ServiceSettings())) as client:  # its threads run
        yield client


@pytest.fixture(scope="module")
def api(folder: Path) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(Keeper(str(folder)), ServiceSettings()))


# Not schemathesis' own parametrisation: its plugin reaches into a pytest that is older than ours.
@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        (*operation, mode)
        for operation in OPERATIONS
        for mode in GenerationMode
        if operation[1] == "POST" or mode is GenerationMode.POSITIVE  # a GET has nothing that could be wrong
    ],
)
def test_the_api_follows_its_document(api: Any, path: str, method: str, mode: GenerationMode) -> None:
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def follow(case: Any) -> None:
        case.validate_response(case.call(), excluded_checks=[CHECKS.get_one(name) for name in _LEFT_OUT])

    follow()


def test_the_document_and_its_page(site: TestClient) -> None:
    document = site.get("/openapi.json").json()
    page = site.get("/docs")
    assert set(document["paths"]) == {path for path, _ in OPERATIONS}
    for address in document["paths"]:
        assert address in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "http" not in page.text.replace("http://127.0.0.1:8000", "").replace("&quot;http&quot;", "")
    named = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page.text
        assert named.count(f"#/components/schemas/{name}") >= 1
    assert "HTTPValidationError" not in named


def test_the_page_of_the_document_escapes() -> None:
    bad = "<script>alert(1)</script>"
    document = {
        "info": {"title": bad, "version": bad, "description": bad},
        "paths": {f"/{bad}": {"get": {"description": bad, "responses": {"200": {"description": bad}}}}},
        "components": {"schemas": {bad: {"description": bad, "$ref": f"#/components/schemas/{bad}"}}},
    }
    assert "<script" not in docs_page(document)


def test_files_are_asked_for_again_but_not_sent_again(site: TestClient) -> None:
    first = site.get("/reader.js")
    assert site.get("/reader.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert site.head("/").status_code == 200
    example = site.get("/example.txt")
    seed = Path(__file__).parents[2] / "seeds/000_67de78d66b7b359b.txt"
    assert example.content == seed.read_bytes()
