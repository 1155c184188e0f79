"""The load on a server: what it refuses."""

from __future__ import annotations

import sys

import pytest

from train.service import load


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:8000", "http:// first"),
        ("localhost:8000", "http:// first"),
        ("http://example.org", "only a server on this machine"),
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
