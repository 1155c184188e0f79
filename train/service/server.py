"""The process: a socket, uvicorn, and what SIGTERM and SIGHUP do to it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from train.schema import SelonError
from train.service.app import create_app
from train.service.served import Keeper
from train.service.settings import ServiceSettings

#: Seconds after which a connection that says nothing is closed.
_SILENCE = 15


class _Protocol(H11Protocol):
    """uvicorn's, except that a connection which never asks for anything is closed like one that asks no more."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        wait, close = self.timeout_keep_alive, self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(wait, close)


class _Server(uvicorn.Server):
    """uvicorn, except that a stop that was asked for and went well ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(model: str | None, host: str, port: int, settings: ServiceSettings, tell: Callable[[str], Any]) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what was begun.

    SIGHUP opens the model anew; where it says that the terminal was closed, it ends the server.

    Parameters
    ----------
    model : str or None
        As ``registry.resolve`` takes it.
    host : str
    port : int
        0 takes any that is free.
    settings : ServiceSettings
    tell : callable
        Told the address, once requests are answered.

    Raises
    ------
    SelonError
        When there is no such model, or the address cannot be bound.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("train.service").setLevel(logging.INFO)
    bound = _bind(host, port)
    with bound:
        keeper = Keeper(model, settings.watch)
        config = uvicorn.Config(
            create_app(keeper, settings),
            log_config=None,
            access_log=False,  # ours names routes, not what clients wrote
            server_header=False,
            timeout_graceful_shutdown=int(settings.deadline) + 1,
            timeout_keep_alive=_SILENCE,
            http=_Protocol,
            h11_max_incomplete_event_size=64 * 1024,
            ws="none",
        )
        shown, number = bound.getsockname()[:2]
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{number}"
        server = _Server(config, lambda: tell(address))
        if hasattr(signal, "SIGHUP"):
            attended = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

            def hang_up(number: int, frame: Any) -> None:
                if attended and not _has_terminal():
                    server.handle_exit(number, frame)
                else:
                    keeper.ask()

            signal.signal(signal.SIGHUP, hang_up)
        server.run([bound])


def _has_terminal() -> bool:
    """Return whether somebody sits before this process, and could still see what it says."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _bind(host: str, port: int) -> socket.socket:
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise SelonError(f"{host}:{port}: cannot be listened on ({reason}); choose another --host or --port") from None
    return bound
