"""The process: it tells its address, drains on SIGTERM, reloads on SIGHUP, and holds no torch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from train import cli
from train.service.server import _Protocol, is_loopback


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org", "")))


def test_mistakes(selon: Any, folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = selon("serve", "--model", folder, "--port", taken.getsockname()[1])
    assert (done.code, "cannot be listened on" in done.err) == (2, True)
    done = selon("serve", "--model", folder, "--port", 0, "--host", "127.0.0..1")
    assert (done.code, "cannot be listened on" in done.err) == (2, True)
    done = selon("serve", "--model", tmp_path, "--port", 0)
    assert (done.code, "no bundle.json there" in " ".join(done.err.split())) == (2, True)
    done = selon("serve", "--model", folder, "--port", 0, "--token-file", tmp_path / "none")
    assert (done.code, "the token cannot be read" in " ".join(done.err.split())) == (2, True)
    for option, seconds in (("--deadline", "inf"), ("--deadline", "nan"), ("--watch", "1e300")):
        done = selon("serve", "--model", folder, "--port", 0, option, seconds)
        assert (done.code, f"Invalid value for '{option}'" in done.err) == (2, True)


def test_the_address_is_told_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.service.server.serve", lambda *arguments: arguments[-1]("http://[fd00::1]:8000"))
    cli.serve(host="::1")
    assert capsys.readouterr().err == "selon: http://[fd00::1]:8000\n"


def test_a_server_from_start_to_end(folder: Path, tmp_path: Path) -> None:
    """SIGHUP and SIGTERM among requests: all are answered, the process ends with 0 and logged no text."""
    program = (
        "import sys, atexit\n"
        "heavy = {'torch', 'transformers', 'mlflow'}\n"
        "atexit.register(lambda: print('held', heavy & set(sys.modules), file=sys.stderr))\n"
        "from train.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "serve", "--model", str(folder), "--port", "0"]
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, cwd=tmp_path, env={**os.environ, "COLUMNS": "200"})
    try:
        address = _address(process, log)
        statuses: list[int] = []
        article = {"title": "", "text": "Le maire dément la grève. " * 300}

        def ask() -> None:
            with httpx2.Client(base_url=address, timeout=30) as client:
                for _ in range(2):
                    statuses.append(client.post("v1/label", json=article).status_code)

        with httpx2.Client(base_url=address, timeout=30) as client:
            assert client.get("v1/model").json()["name"] == "tfidf"
            head = client.head("v1/model")
            assert (head.status_code, head.content) == (200, b"")
            refused = client.post("v1/label", content=b"x" * 5_000_000, headers={"Content-Type": "application/json"})
            assert refused.status_code == 413
            process.send_signal(signal.SIGHUP)
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + 60
            while " answers now" not in log.read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            for thread in threads:
                thread.join()
            assert statuses == [200] * 8
            last: list[Any] = []
            final = threading.Thread(
                target=lambda: last.append(httpx2.post(f"{address}/v1/label", json=article, timeout=30))
            )
            final.start()
            while "selon_queue_tokens 0.0" in client.get("metrics").text and final.is_alive():
                time.sleep(0.005)
            process.send_signal(signal.SIGTERM)
            final.join()
            assert [answer.status_code for answer in last] == [200]
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    written = log.read_text()
    assert "held set()" in written
    assert "POST /v1/label 200" in written
    assert "maire" not in written
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address)


def test_a_connection_that_says_nothing_is_closed() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing was asked")

    config = uvicorn.Config(answer, port=0, log_config=None, http=_Protocol, timeout_keep_alive=1, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=10) as silent:
        assert silent.recv(1) == b""
    server.should_exit = True
    thread.join(10)


def test_a_closed_terminal_ends_it(folder: Path) -> None:
    pytest.importorskip("pty", reason="a terminal of POSIX")
    # In a process of its own: this one has threads, and must not be forked.
    program = """
import os, pty, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
pid, terminal = pty.fork()
if not pid:
    os.execv(sys.executable, [sys.executable, "-m", "train", *sys.argv[1:]])
said = b""
while b"http://" not in said:
    said += os.read(terminal, 1000)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    command = [sys.executable, "-c", program, "serve", "--model", str(folder), "--port", "0"]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("selon: http://127.0.0.1:"):
                return line.removeprefix("selon: ")
        time.sleep(0.05)
    raise AssertionError(log.read_text())
