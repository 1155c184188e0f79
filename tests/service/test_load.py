"""The load on a server: what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2
import pytest

from train.service import load


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:8000", "http:// first"),
        ("localhost:8000", "http:// first"),
        ("http://example.org", "only a server on this machine"),
        ("http://[::1", "no address"),
        ("http://127.0.0.1:99999", "no address"),
    ],
)
def test_other_addresses_are_refused(
    address: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["load", address])
    with pytest.raises(SystemExit) as ended:
        load.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert line.startswith(f"selon: {address}: ")
    assert said in line


def test_a_server_that_wants_a_token_is_told_from_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def refused(self: load.Load) -> None:
        sent = self._client.headers.get("Authorization")
        httpx2.Response(401, request=httpx2.Request("GET", f"http://x/{sent}")).raise_for_status()

    monkeypatch.setattr(load.Load, "run", refused)
    (tmp_path / "token").write_text("un-jeton-assez-long")
    monkeypatch.setattr(sys, "argv", ["load", "http://127.0.0.1:9", "--token-file", str(tmp_path / "token")])
    with pytest.raises(SystemExit) as ended:
        load.main()
    assert ended.value.code == 2
    assert "it answers 401; name the file of its token with --token-file" in capsys.readouterr().err
