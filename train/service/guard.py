"""What stands before every route: headers, the token, limits on bodies and open requests, one line of log.

Plain ASGI, outermost first: ``Watchman`` (headers, log, metrics, bugs), ``Gate`` (token), ``Intake`` (bodies).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from http import HTTPMethod
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from train.service.batching import OverloadError
from train.service.monitoring import Metrics
from train.service.problems import ProblemError, unexpected

_log = logging.getLogger(__name__)

_HEADERS = {
    # Nothing from elsewhere, nothing inline: a text that reached the page as markup could still do nothing.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_METHODS = frozenset(HTTPMethod)
#: A body this many times too large is still read and dropped, so that a client that writes first gets to read why.
_READ_ANYWAY = 8
#: What needs no token: the page, which asks for one; the document of the API; whether the server is there.
OPEN = frozenset(
    "/ /icon.svg /style.css /reader.js /takeaway.js /words.js /example.txt /docs /openapi.json "
    "/ping /health /health/live /health/ready".split()
)


def overloaded(error: OverloadError) -> ProblemError:
    """Return what a client is told that comes at a bad time."""
    return ProblemError(429, "too much to do just now; try again", {"Retry-After": str(error.retry_after)})


class Watchman:
    """Adds the headers, counts and logs each answer, and turns a bug into a problem without a trace."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens inside."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        # A method that HTTP does not know is a text that a client wrote.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        if method == "HEAD":  # the server that called leaves the body out
            scope = {**scope, "method": "GET"}

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            if not status:  # else it was answered, and logged, where routes end
                await unexpected(error).response()(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            # The template of the route: so is a path.
            route = getattr(scope.get("route"), "path", None) or scope.get("selon.route") or "other"
            self.metrics.request(route, status, seconds)
            _log.info("%s %s %d %.0f ms", method, route, status, 1000 * seconds)


class Gate:
    """Lets in whoever sends the token; everybody where there is none."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app, self._token = app, token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or answer 401."""
        if scope["type"] == "http" and self._token and scope["path"] not in OPEN:
            kind, _, sent = Headers(scope=scope).get("authorization", "").partition(" ")
            # Compared as bytes, in constant time: how long it takes tells nothing of the token.
            right = secrets.compare_digest(sent.strip().encode("latin-1"), self._token)
            if kind.lower() != "bearer" or not right:
                detail = "this server wants its token: Authorization: Bearer …"
                await ProblemError(401, detail, {"WWW-Authenticate": "Bearer"}).response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Intake:
    """Reads bodies within their limits, and stops the work for a client that went away.

    Parameters
    ----------
    max_body, max_open : int
        Bytes of a body; requests with a body at one time.
    deadline : float
        Seconds for a body to arrive.
    check : callable
        Raises OverloadError where no work is admitted: then the body is not even parsed.
    """

    def __init__(self, app: ASGIApp, max_body: int, max_open: int, deadline: float, check: Callable[[], None]) -> None:
        self.app, self._max_body, self._max_open = app, max_body, max_open
        self._deadline, self._check = deadline, check
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a request whole and pass it on, or say why not."""
        if scope["type"] != "http" or scope["method"] == "GET":
            await self.app(scope, receive, send)
            return
        scope["selon.route"] = "refused"
        self._open += 1
        try:
            try:
                body = await self._body(scope, receive)
                if body is None:
                    return
                self._check()
                await self._answer(body, scope, receive, send)
            except OverloadError as error:
                await overloaded(error).response()(scope, receive, send)
            except ProblemError as problem:
                await problem.response()(scope, receive, send)
        finally:
            self._open -= 1

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, None where the client went away; ProblemError where it is too large or too slow."""
        too_large = ProblemError(
            413, f"the body is larger than {self._max_body} bytes; send less", {"Connection": "close"}
        )
        length = Headers(scope=scope).get("content-length", "")
        most = _READ_ANYWAY * self._max_body
        if length.isdigit() and int(length) > most:
            raise too_large
        full = self._open > self._max_open
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._deadline):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    size += len(message.get("body", b""))
                    if size > most:
                        raise too_large
                    if not full and size <= self._max_body:  # else read and dropped
                        chunks.append(message.get("body", b""))
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise ProblemError(408, "the body took too long to arrive", {"Connection": "close"}) from None
        if size > self._max_body:
            raise too_large
        if full:
            raise OverloadError(1)
        return b"".join(chunks)

    async def _answer(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        given = began = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        work = asyncio.ensure_future(self.app(scope, replay, sending))
        gone: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not began and not work.done():
                work.cancel()
                await asyncio.wait({work})
            if not work.cancelled():
                await work
        finally:
            gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
