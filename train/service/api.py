"""POST /v1/label and GET /v1/model."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Body, Response

from train.labeller import read_article
from train.schema import Article, Prediction
from train.service.batching import OverloadError
from train.service.guard import overloaded
from train.service.problems import documented
from train.service.rendering import article_out, model_description, model_out
from train.service.schemas import LabelRequest, ManyArticles, ManyLabelled, ModelDescription, OneLabelled
from train.service.served import Served
from train.service.state import Here

router = APIRouter(prefix="/v1", tags=["selon"])
_EXAMPLES = {
    "one": {
        "value": {"title": "Une usine dans le doute", "text": "Le site fermerait, selon un syndicat. Faux, dit-on."}
    },
    "many": {"value": {"articles": [{"id": "a", "text": "La direction dément."}, {"id": "b", "text": "Il pleut."}]}},
}


@router.get("/model", responses=documented(401))
async def model(here: Here) -> ModelDescription:
    """Describe the model that answers now."""
    return model_description(here.keeper.current)


@router.post(
    "/label",
    response_model=OneLabelled | ManyLabelled,
    responses=documented(400, 401, 408, 413, 415, 422, 429, 500, 503, 504),
)
async def label(request: Annotated[LabelRequest, Body(openapi_examples=_EXAMPLES)], here: Here) -> Response:
    """Label every sentence of one article, or of several.

    Offsets are code points into the raw text, end-exclusive. Probabilities are calibrated.
    """
    sent = request.articles if isinstance(request, ManyArticles) else [request]
    served = here.keeper.current  # one model for the whole request
    try:
        with here.batcher.admit(sum(here.cost(served, one.text, one.title) for one in sent)):
            # Cutting and rendering are work too: not on the thread that everybody's connections share.
            articles = await run_sync(lambda: [read_article(one.text, one.title, one.id) for one in sent])
            predicted = await here.label(served, articles)
            many = isinstance(request, ManyArticles)
            answer = await run_sync(_render, served, articles, predicted, request.parts, many)
    except OverloadError as error:
        raise overloaded(error) from None
    return Response(answer, media_type="application/json")


def _render(
    served: Served,
    articles: list[Article],
    predicted: list[list[Prediction]],
    parts: bool,
    many: bool,
) -> str:
    done = [article_out(*both, parts) for both in zip(articles, predicted, strict=True)]
    known = {"model": model_out(served), "review_below": served.labeller.bundle.review_below}
    answer = ManyLabelled(**known, articles=done) if many else OneLabelled(**known, **dict(done[0]))
    return answer.model_dump_json()
