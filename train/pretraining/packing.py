"""Shards → rows without padding, in an order that is new on every pass, and the masks over them.

Everything here is a function of a seed and a position, so that a resumed run needs no saved generators.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.pretraining.pieces import BOS, EOS, MASK, SPECIAL_TOKENS

#: Of the words to predict, so many are shown as <mask>; of the rest, half as random pieces, half as they are.
_SHOWN_AS_MASK, _SHOWN_AT_RANDOM = 0.8, 0.1


class PackedText:
    """An endless stream of pieces: pass after pass over the same documents, each in another order.

    Parameters
    ----------
    pieces : uint16 array, shape (total,)
        Documents, each closed by EOS.
    seed : int
        Together with the number of the pass it fixes the order of the documents.
    """

    def __init__(self, pieces: NDArray[np.uint16], seed: int) -> None:
        self._pieces = pieces
        self._seed = seed
        self._ends = np.flatnonzero(pieces == EOS) + 1
        self._starts = np.concatenate([[0], self._ends[:-1]])
        self._total = int(self._ends[-1])
        self._pass = -1
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._offsets: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of pieces of one pass."""
        return self._total

    def rows(self, position: int, count: int, length: int) -> tuple[NDArray[np.int64], int]:
        """Return ``count`` rows of ``length`` pieces, ``<s>`` first, and the position after them.

        ``position`` counts stream pieces from 0; ``position // len(self)`` is the pass.
        """
        wanted = count * (length - 1)
        stream = np.concatenate(list(self._read(position, wanted))).astype(np.int64)
        rows = np.full((count, length), BOS, dtype=np.int64)
        rows[:, 1:] = stream.reshape(count, length - 1)
        return rows, position + wanted

    def _read(self, position: int, wanted: int) -> list[NDArray[np.uint16]]:
        chunks: list[NDArray[np.uint16]] = []
        while wanted:
            number, offset = divmod(position, self._total)
            self._shuffle(number)
            index = int(np.searchsorted(self._offsets, offset, side="right")) - 1
            document = self._order[index]
            begin = int(self._starts[document] + offset - self._offsets[index])
            chunk = self._pieces[begin : min(begin + wanted, int(self._ends[document]))]
            chunks.append(chunk)
            position += len(chunk)
            wanted -= len(chunk)
        return chunks

    def _shuffle(self, number: int) -> None:
        if number == self._pass:
            return
        self._order = np.random.default_rng([self._seed, number]).permutation(len(self._ends))
        lengths = (self._ends - self._starts)[self._order]
        self._offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self._pass = number


def word_starts(vocabulary: dict[str, int]) -> NDArray[np.bool_]:
    """Return, for each piece id, whether a word begins with it (``▁`` or a special token), shape (pieces,)."""
    starts = np.zeros(len(vocabulary), dtype=bool)
    for piece, index in vocabulary.items():
        starts[index] = piece.startswith("▁") or index < len(SPECIAL_TOKENS)
    return starts


def mask_words(
    rows: NDArray[np.int64], starts: NDArray[np.bool_], share: float, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Hide whole words.

    Parameters
    ----------
    rows : int64, shape (count, length)
    starts : bool, shape (pieces,)
        From `word_starts`.
    share : float
        Each word is chosen with this probability, with all its pieces; special tokens never are.

    Returns
    -------
    inputs : int64, shape (count, length)
        ``rows`` with 80 % of the chosen words as ``<mask>``, 10 % as random pieces, 10 % as they are.
    chosen : bool, shape (count, length)
        The places to predict.
    """
    special = rows < len(SPECIAL_TOKENS)
    # The piece after <s> may lie inside a word whose beginning fell to the row before: a word of its own.
    begins = starts[rows]
    begins[:, 1] = True
    word = np.cumsum(begins, axis=1) - 1
    chosen = np.take_along_axis(generator.random(rows.shape) < share, word, axis=1) & ~special
    fate = np.take_along_axis(generator.random(rows.shape), word, axis=1)
    stranger = generator.integers(len(SPECIAL_TOKENS), len(starts), rows.shape)
    inputs = np.where(chosen & (fate < _SHOWN_AS_MASK), MASK, rows)
    random = chosen & (fate >= _SHOWN_AS_MASK) & (fate < _SHOWN_AS_MASK + _SHOWN_AT_RANDOM)
    return np.where(random, stranger, inputs), chosen
