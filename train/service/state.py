"""What the routes share, and the one way from an article to its predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from train.schema import Article, Prediction
from train.service.batching import Batcher, tokens
from train.service.monitoring import Metrics
from train.service.problems import ProblemError
from train.service.served import Keeper, Served
from train.service.settings import ServiceSettings


@dataclass(frozen=True)
class Service:
    """One running server."""

    settings: ServiceSettings
    keeper: Keeper
    batcher: Batcher
    metrics: Metrics

    def cost(self, served: Served, text: str, title: str = "") -> int:
        """Return the estimated tokens of an article."""
        return tokens(text, title, served.labeller.bundle.input)

    async def label(self, served: Served, articles: Sequence[Article]) -> list[list[Prediction]]:
        """Have admitted articles labelled; ProblemError where one is too long or the deadline passes."""
        limit = self.settings.max_sentences
        for number, article in enumerate(articles, 1):
            if len(article) > limit:
                which = f"article {number} of {len(articles)}" if len(articles) > 1 else "the article"
                raise ProblemError(422, f"{which} has {len(article)} sentences; the most is {limit}: send it in pieces")
        queued = {
            place: self.batcher.submit(served.labeller, article, self.cost(served, article.text, article.title))
            for place, article in enumerate(articles)
            if len(article)
        }
        try:
            async with asyncio.timeout(self.settings.deadline):
                done = await asyncio.gather(*map(asyncio.wrap_future, queued.values()))
        except TimeoutError:
            raise self._late(list(queued.values())) from None
        for predictions in done:
            self.metrics.labelled(predictions)
        answers = dict(zip(queued, done, strict=True))
        return [answers.get(place, []) for place in range(len(articles))]

    def _late(self, queued: Sequence[Future[list[Prediction]]]) -> ProblemError:
        """Tell work that never began from work that takes too long."""
        limit = f"the answer was not ready within {self.settings.deadline:g} s"
        if any(future.running() or (future.done() and not future.cancelled()) for future in queued):
            return ProblemError(504, f"{limit}; send less at once")
        return ProblemError(503, f"{limit}: others came first; try again", {"Retry-After": "5"})


def service(request: Request) -> Service:
    """Return the server that a request reached."""
    found: Service = request.app.state.service
    return found


Here = Annotated[Service, Depends(service)]
