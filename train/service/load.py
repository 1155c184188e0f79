"""Load a server from a second process and say how it holds: `python -m train.service.load http://127.0.0.1:8000`.

First what it can do, with a few clients that wait for their answers; then requests at 1, 2 and 10 times that rate,
sent when they are due whether or not earlier ones were answered. Every answer is compared with the one that an
idle server gave for the same article. Loopback only: this is no tool to send loads to others.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from train.schema import SelonError
from train.service.server import is_loopback
from train.service.settings import read_token

_TIMES = (1, 2, 10)
_CLIENTS = 4
#: A probability may differ by this much between batches.
_TOLERANCE = 1e-3
#: No more requests than this are on the way at one time; a client has its limits too.
_ON_THE_WAY = 500
_LOG = "look at its log"
_REMEDIES = {401: "name the file of its token with --token-file", 429: "wait until others are done with it"}


@dataclass
class Phase:
    """What one rate brought: seconds of each right answer, and how many others there were."""

    name: str
    sent: int = 0
    seconds: float = 0.0
    right: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    memory: float = 0.0
    recovery: float | None = None

    def row(self) -> list[str]:
        """Return the cells of the table."""
        ordered = sorted(self.right)
        p50, p99 = (
            f"{1000 * ordered[int(share * (len(ordered) - 1))]:.0f} ms" if ordered else "–" for share in (0.5, 0.99)
        )
        rest = sum(count for kind, count in self.others.items() if kind not in ("429", "wrong"))
        return [
            self.name,
            f"{self.sent / self.seconds:.1f}/s",
            f"{len(self.right) / self.seconds:.1f}/s",
            p50,
            p99,
            f"{self.others['429'] / max(self.sent, 1):.0%}",
            str(rest),
            str(self.others["wrong"]),
            f"{self.memory / 2**20:.0f} MB",
            "" if self.recovery is None else f"{self.recovery:.1f} s",
        ]


COLUMNS = "load,sent,right answers,p50,p99,429,failed,wrong,RSS,recovery".split(",")


class Load:
    """A server under load, seen from outside."""

    def __init__(self, client: Any, seconds: float) -> None:
        self._client, self._seconds = client, seconds
        self._expected: list[tuple[dict[str, str], list[tuple[str, float]]]] = []

    async def run(self) -> list[Phase]:
        """Return what each rate brought."""
        text = (await self._get("example.txt")).strip()
        paragraphs = text.splitlines()
        for first in range(0, len(paragraphs), 3):
            body = {"text": "\n".join(paragraphs[first:] + paragraphs[:first])}
            answer = await self._client.post("v1/label", json=body)
            answer.raise_for_status()
            self._expected.append((body, _labels(answer.json())))
        capacity = await self._closed()
        rate = len(capacity.right) / capacity.seconds
        if not rate:
            raise SelonError(f"the server answered nothing at rest; {_LOG}")
        return [capacity, *[await self._open(times, rate) for times in _TIMES]]

    async def _get(self, path: str) -> str:
        answer = await self._client.get(path)
        answer.raise_for_status()
        return str(answer.text)

    async def _closed(self) -> Phase:
        phase = Phase(f"{_CLIENTS} clients in turn")
        end = time.perf_counter() + self._seconds

        async def one(number: int) -> None:
            while time.perf_counter() < end:
                number += 1
                await self._ask(phase, number)

        await self._timed(phase, [one(number) for number in range(_CLIENTS)])
        return phase

    async def _open(self, times: int, rate: float) -> Phase:
        phase = Phase(f"{times}×")
        room = asyncio.Semaphore(_ON_THE_WAY)
        due = [number / (times * rate) for number in range(int(self._seconds * times * rate))]
        started = time.perf_counter()

        async def one(number: int, when: float) -> None:
            await asyncio.sleep(max(0.0, started + when - time.perf_counter()))
            async with room:
                await self._ask(phase, number)

        await self._timed(phase, [one(*both) for both in enumerate(due)])
        after = time.perf_counter()
        while True:  # until an answer is as fast as at rest
            probe = Phase("")
            await self._ask(probe, 0)
            if (probe.right and probe.right[0] < 4 * _CLIENTS / rate) or time.perf_counter() - after > 60:
                break
            await asyncio.sleep(0.05)
        phase.recovery = time.perf_counter() - after
        return phase

    async def _timed(self, phase: Phase, work: list[Any]) -> None:
        started = time.perf_counter()
        await asyncio.gather(*work)
        phase.seconds = time.perf_counter() - started
        found = re.search(r"^process_resident_memory_bytes (\S+)", await self._get("metrics"), re.MULTILINE)
        phase.memory = float(found[1]) if found else 0.0

    async def _ask(self, phase: Phase, number: int) -> None:
        import httpx2

        body, expected = self._expected[number % len(self._expected)]
        phase.sent += 1
        started = time.perf_counter()
        try:
            answer = await self._client.post("v1/label", json=body)
        except httpx2.HTTPError as error:
            phase.others[type(error).__name__] += 1
            return
        taken = time.perf_counter() - started
        if answer.status_code != 200:
            phase.others[str(answer.status_code)] += 1
        elif _same(_labels(answer.json()), expected):
            phase.right.append(taken)
        else:
            phase.others["wrong"] += 1


def _labels(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(sentence["label"], sentence["confidence"]) for sentence in answer["sentences"]]


def _same(given: list[tuple[str, float]], expected: list[tuple[str, float]]) -> bool:
    return len(given) == len(expected) and all(
        one[0] == other[0] and abs(one[1] - other[1]) <= _TOLERANCE for one, other in zip(given, expected, strict=True)
    )


async def measure(address: str, seconds: float, token: str | None = None) -> list[Phase]:
    """Return what the server at ``address`` did under each load, each for ``seconds``; SelonError off loopback."""
    if not address.startswith(("http://", "https://")):
        raise SelonError(f"{address}: write the whole address, http:// first, such as http://127.0.0.1:8000")
    try:
        host, _ = (parts := urlsplit(address)).hostname, parts.port
    except ValueError as error:
        raise SelonError(f"{address}: no address ({error}); write one such as http://127.0.0.1:8000") from None
    if not is_loopback(host or ""):
        raise SelonError(f"{address}: only a server on this machine (127.0.0.1) is put under load")
    try:
        import httpx2
    except ImportError:
        raise SelonError("the load needs httpx2: pip install httpx2") from None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx2.Limits(max_connections=_ON_THE_WAY, max_keepalive_connections=_ON_THE_WAY)
    async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=60, limits=limits) as client:
        try:
            return await Load(client, seconds).run()
        except httpx2.HTTPStatusError as error:
            status = error.response.status_code
            raise SelonError(f"{address}: it answers {status}; {_REMEDIES.get(status, _LOG)}") from None
        except httpx2.HTTPError as error:
            raise SelonError(f"{address}: no server there that answers ({type(error).__name__})") from None


def table_of(phases: list[Phase]) -> Table:
    """Return the figures as a table."""
    table = Table(title="POST /v1/label under load")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "load" else "right")
    for phase in phases:
        table.add_row(*phase.row())
    return table


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.service.load", description=(__doc__ or "").split(":")[0])
    parser.add_argument("address", help="http://127.0.0.1:PORT")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (default 10)")
    parser.add_argument("--token-file", type=Path, help="as `selon serve` has it")
    arguments = parser.parse_args()
    try:
        token = read_token(arguments.token_file).get_secret_value() if arguments.token_file else None
        phases = asyncio.run(measure(arguments.address, arguments.seconds, token))
    except SelonError as error:
        print(f"selon: {error}", file=sys.stderr)
        sys.exit(2)
    Console(width=max(Console().width, 110)).print(table_of(phases))
    sys.exit(1 if any(phase.others["wrong"] for phase in phases) else 0)


if __name__ == "__main__":
    main()
