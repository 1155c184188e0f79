"""What stands before every route: sizes, the token, headers, overload, deadlines, bugs, the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from train.schema import SelonError
from train.service.settings import read_token

BODY = {"text": "Le maire dément la grève."}
TOKEN = "un-jeton-assez-long"


def _post(client: TestClient, **more: Any) -> Any:
    return client.post("/v1/label", json=BODY, **more)


def test_bodies_are_bounded_whether_announced_or_not(serving: Callable[..., Any]) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(30):
            yield b"a" * 100
        yield b'"}'

    with serving(max_body=2000) as client:
        announced = client.post("/v1/label", json={"text": "a" * 3000})
        huge = client.post("/v1/label", json={"text": "a" * 30_000})
        chunked = client.post("/v1/label", content=pieces(), headers={"Content-Type": "application/json"})
        fits = client.post("/v1/label", json={"text": "a" * 1500})
    assert [answer.status_code for answer in (announced, huge, chunked, fits)] == [413, 413, 413, 200]
    assert "larger than 2000 bytes" in announced.json()["detail"]


@pytest.mark.parametrize("address", ["/", "/reader.js", "/docs", "/v1/model", "/nowhere", "/metrics", "/health/live"])
def test_every_answer_carries_the_headers(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_no_address_leads_to_another(client: TestClient) -> None:
    assert client.post("/v1/label/", json={"text": "a"}, follow_redirects=False).status_code == 404


def test_other_origins_are_told_nothing(client: TestClient) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    answer = client.options("/v1/label", headers=asked)
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_the_token(serving: Callable[..., Any]) -> None:
    with serving(token=TOKEN) as client:
        for sent in (None, f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", TOKEN, "Bearer \xe9t\xe9".encode("latin-1")):
            refused = _post(client, headers={"Authorization": sent} if sent else {})
            assert refused.status_code == 401, sent
            assert refused.headers["www-authenticate"] == "Bearer"
        for closed in ("/v1/model", "/metrics", "/version", "/nowhere"):
            assert client.get(closed).status_code == 401
        for open_ in ("/", "/style.css", "/reader.js", "/docs", "/openapi.json", "/ping", "/health/ready"):
            assert client.get(open_).status_code == 200, open_
        assert _post(client, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_token_files(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert read_token(path).get_secret_value() == TOKEN
    assert TOKEN not in repr(read_token(path))
    for bad in ("", "court", "deux mots bien trop longs", "é" * 20):
        path.write_text(bad)
        with pytest.raises(SelonError, match="a token is one line of 16 or more"):
            read_token(path)
    with pytest.raises(SelonError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_overload_is_shed_and_what_is_answered_is_right(serving: Callable[..., Any], gated: Any) -> None:
    with serving(gated, queue_tokens=117, batch_tokens=120) as client, ThreadPoolExecutor(40) as pool:
        expected = gated.labeller.label(BODY["text"])[1][0].label
        waiting = [pool.submit(_post, client) for _ in range(40)]
        assert gated.entered.wait(10)
        deadline = time.monotonic() + 10
        while sum(future.done() for future in waiting) < 30 and time.monotonic() < deadline:
            time.sleep(0.02)
        ready = client.get("/health/ready")
        gated.gate.set()
        answers = [future.result(20) for future in waiting]
        after = _post(client)
    shed = [answer for answer in answers if answer.status_code == 429]
    answered = [answer for answer in answers if answer.status_code == 200]
    assert len(shed) + len(answered) == 40
    assert len(shed) >= 30
    assert 1 <= len(answered) <= 10
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in shed)
    assert {answer.json()["sentences"][0]["label"] for answer in answered} == {expected}
    assert max(gated.batches) > 1  # those that waited went together
    assert (ready.status_code, after.status_code) == (503, 200)


def test_open_requests_are_bounded(serving: Callable[..., Any], gated: Any) -> None:
    with serving(gated, max_open=2) as client, ThreadPoolExecutor(2) as pool:
        first = [pool.submit(_post, client) for _ in range(2)]
        assert gated.entered.wait(10)
        deadline = time.monotonic() + 10
        while _post(client).status_code == 200 and time.monotonic() < deadline:  # until both are in
            pass
        assert _post(client).status_code == 429
        assert client.get("/health/live").status_code == 200
        gated.gate.set()
        assert [future.result(10).status_code for future in first] == [200, 200]


def test_deadlines(serving: Callable[..., Any], gated: Any) -> None:
    with serving(gated, deadline=1.5) as client, ThreadPoolExecutor(1) as pool:
        begun = pool.submit(_post, client)
        assert gated.entered.wait(10)
        waited = _post(client)
        assert begun.result(10).status_code == 504
        assert waited.status_code == 503
        assert int(waited.headers["retry-after"]) >= 1
        gated.gate.set()
        assert _post(client).status_code == 200


def test_a_bug_shows_no_trace_and_logs_no_text(
    serving: Callable[..., Any], gated: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(articles: Any) -> Any:
        raise ValueError(f"a bug with {articles[0].text}")

    gated.predict = crash
    with caplog.at_level(logging.DEBUG), serving(gated) as client:
        answer = _post(client, params={"q": "secret"})
        client.get("/Le-maire-dement")
        client.request("MAIRE", "/v1/label")
        assert client.get("/health/live").status_code == 200
    assert answer.status_code == 500
    assert set(answer.json()) == {"type", "title", "status", "detail", "faults"}
    assert "Traceback" not in answer.text
    written = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("train"))
    assert "ValueError" in written
    assert "in crash" in written
    assert "POST /v1/label 500" in written
    assert "other /v1/label 405" in written
    for text in ("maire", "MAIRE", "grève", "secret", "dement"):
        assert text not in written
        assert text not in answer.text


def test_a_client_that_leaves_stops_its_work(serving: Callable[..., Any], gated: Any) -> None:
    """The request is cancelled in the queue, so the model never sees it."""
    import anyio

    with serving(gated) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(_post, client)
        assert gated.entered.wait(10)
        left = threading.Event()

        async def leave() -> None:
            messages = iter([{"type": "http.request", "body": b'{"text": "Le pont."}', "more_body": False}])

            async def receive() -> Any:
                if message := next(messages, None):
                    return message
                while client.app.state.service.batcher.held < 2:
                    await anyio.sleep(0.01)
                await anyio.sleep(0.1)
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                raise AssertionError("nobody is there to answer")

            scope = {"type": "http", "method": "POST", "path": "/v1/label", "raw_path": b"/v1/label",
                     "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
                     "headers": [(b"content-type", b"application/json")], "client": None, "server": None}  # fmt: skip
            await client.app(scope, receive, send)
            left.set()

        client.portal.call(leave)
        assert left.is_set()
        gated.gate.set()
        assert first.result(10).status_code == 200
        assert _post(client).status_code == 200
    assert gated.batches == [1, 1]


def test_figures_for_prometheus(client: TestClient) -> None:
    _post(client)
    client.get("/le-texte-d-un-client")
    text = client.get("/metrics").text
    assert 'selon_requests_total{route="/v1/label",status="200"} 1.0' in text
    assert 'selon_requests_total{route="other",status="404"} 1.0' in text
    assert 'selon_sentences_total{label="denial"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "selon_queue_tokens 0.0" in text
    assert "le-texte" not in text
    assert text.count("selon_model_info{") == 1
