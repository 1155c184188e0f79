"""Splits by article: near-duplicate articles stay together, and nothing leaks from one split to another."""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from train.corpus import content_key
from train.schema import Article, SelonError

#: Words in a shingle: long enough that two articles rarely share one by chance.
_SHINGLE = 8
#: Share of the shorter article's shingles from which two articles count as the same story reprinted.
_SAME = 0.3
#: Of the articles that share a shingle, how many following ones each is compared with: a line that closes every article
#: of an outlet would else pair all with all. Many prints of one story are still found, in a chain.
_KIN = 30


def near_duplicates(articles: Sequence[Article]) -> list[tuple[int, int]]:
    """Return the pairs (by place, first < second) of articles that share much of their wording."""
    holders, sizes = _index(articles)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for places in holders.values():
        for i, first in enumerate(places):
            for second in places[i + 1 : i + 1 + _KIN]:
                shared[first, second] += 1
    pairs = {pair for pair, n in shared.items() if n >= _SAME * min(sizes[pair[0]], sizes[pair[1]])}
    by_content: dict[str, int] = {}
    for place, article in enumerate(articles):  # articles too short for a shingle
        first = by_content.setdefault(content_key(article), place)
        if first != place:
            pairs.add((first, place))
    return sorted(pairs)


def without_reprints(articles: Sequence[Article], held_out: Sequence[Article]) -> list[Article]:
    """Return the articles that share little of their wording with any that is held out; in linear time."""
    holders, sizes = _index(held_out)
    contents = {content_key(article) for article in held_out}

    def is_reprint(article: Article) -> bool:
        shingles = _shingles(article)
        shared = Counter(place for shingle in shingles for place in holders.get(shingle, ()))
        near = any(n >= _SAME * min(sizes[place], len(shingles)) for place, n in shared.items())
        return near or content_key(article) in contents

    return [article for article in articles if not is_reprint(article)]


def _index(articles: Sequence[Article]) -> tuple[dict[int, list[int]], list[int]]:
    """Return which articles, by place, hold which shingle; and how many each holds."""
    holders: dict[int, list[int]] = defaultdict(list)
    sizes = []
    for place, article in enumerate(articles):
        shingles = _shingles(article)
        sizes.append(len(shingles))
        for shingle in shingles:
            holders[shingle].append(place)
    return holders, sizes


def _shingles(article: Article) -> set[int]:
    words = re.findall(r"\w+", " ".join(article.sentence_texts).lower())
    return {hash(tuple(words[i : i + _SHINGLE])) for i in range(len(words) - _SHINGLE + 1)}


def groups(articles: Sequence[Article]) -> list[int]:
    """Return a group number for each article: near-duplicates, also of each other's, share one."""
    parent = list(range(len(articles)))

    def root(place: int) -> int:
        while parent[place] != place:
            place = parent[place]
        return place

    for first, second in near_duplicates(articles):
        parent[root(second)] = root(first)
    return [root(place) for place in range(len(articles))]


def leakage(splits: Mapping[str, Sequence[Article]]) -> list[str]:
    """Return a sentence for each article that stands, by id or by wording, in two splits."""
    articles = [(name, article) for name, members in splits.items() for article in members]
    found = {}
    for first, second in near_duplicates([article for _, article in articles]):
        found[first, second] = "is near to"
    seen: dict[str, int] = {}
    for place, (_, article) in enumerate(articles):
        first = seen.setdefault(article.id, place)
        if first != place:
            found[first, place] = "has the id of"
    return [
        f"{articles[second][1].id} of {articles[second][0]} {how} {articles[first][1].id} of "
        f"{articles[first][0]}: keep it in one split only"
        for (first, second), how in sorted(found.items())
        if articles[first][0] != articles[second][0]
    ]


def grouped_folds(articles: Sequence[Article], folds: int, seed: int) -> Iterator[tuple[list[Article], list[Article]]]:
    """Yield (training, held-out) articles, near-duplicates never on both sides, labels in like shares.

    Raises SelonError where there are fewer articles, near-duplicates counted once, or sentences of each label,
    than folds.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold

    group = groups(articles)
    if len(set(group)) < folds:
        raise SelonError(f"{folds} folds want as many different articles; there are {len(set(group))}: ask for fewer")
    labels = np.concatenate([article.gold for article in articles])
    owner = np.repeat(np.arange(len(articles)), [len(article) for article in articles])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        try:
            parts = list(splitter.split(labels, labels, np.array(group)[owner]))
        except ValueError:
            raise SelonError(f"{folds} folds: no label has as many sentences; ask for fewer") from None
    for _, held in parts:
        places = set(owner[held].tolist())
        yield (
            [a for i, a in enumerate(articles) if i not in places],
            [articles[i] for i in sorted(places)],
        )
