"""What `selon serve` can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from train.config import PositiveFloat, PositiveInt, StrictModel
from train.schema import SelonError

_SHORTEST_TOKEN = 16


class ServiceSettings(StrictModel):
    """The limits of one server.

    Attributes
    ----------
    token : SecretStr or None
        What a client must send as ``Authorization: Bearer …``; None lets everybody in.
    max_body : int
        Bytes of one request.
    max_open : int
        Requests that are read or answered at one time; with ``max_body`` it bounds the memory of bodies.
    max_sentences : int
        Sentences of one article; rows of one table.
    deadline : float
        Seconds from the last byte of a request to its answer.
    queue_tokens, batch_tokens : int
        Estimated tokens that may wait, and that go to the model at once.
    watch : float
        Seconds between two looks at the registry.
    """

    token: SecretStr | None = None
    max_body: PositiveInt = 2 * 1024 * 1024
    max_open: PositiveInt = 128
    max_sentences: PositiveInt = 2000
    deadline: PositiveFloat = 30.0
    queue_tokens: PositiveInt = 262_144
    batch_tokens: PositiveInt = 8192
    watch: Annotated[float, Field(ge=0.05)] = 5.0


def read_token(path: Path) -> SecretStr:
    """Read the token that clients must send from the one line of a file; SelonError where it will not do."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SelonError(f"{path}: the token cannot be read; name a text file that holds it") from None
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or len(token.split()) != 1:
        raise SelonError(f"{path}: a token is one line of {_SHORTEST_TOKEN} or more ASCII characters without spaces")
    return SecretStr(token)
