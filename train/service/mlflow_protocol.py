"""MLflow's scoring protocol, so that this server drops in for ``mlflow models serve``.

POST /invocations takes a table with a column ``text`` (a sentence) and perhaps ``document`` (the article around
it), written in one of MLflow's JSON forms; the answers are those of the model's pyfunc face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictStr, Tag, model_validator

from train import __version__
from train.schema import Article, Label, Prediction
from train.scoring import Placed, answer_rows, place_rows
from train.service.batching import OverloadError
from train.service.guard import overloaded
from train.service.problems import COLUMNS, RECORDS, ProblemError, documented
from train.service.schemas import Text, whole_characters
from train.service.state import Here

router = APIRouter(tags=["MLflow"])
_FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
Cell = Text | None
#: A body of a million bad cells is refused at the first.
_ONE_FAULT = Field(fail_fast=True)
Row = tuple[str | None, str | None]
"""Text and document."""


class Record(BaseModel):
    """A row of the table; other columns are let be, as MLflow does."""

    text: Cell
    document: Cell = None


class Split(BaseModel):
    """A table as pandas splits it; other columns are let be."""

    columns: Annotated[list[StrictStr], _ONE_FAULT]
    data: Annotated[list[list[Any]], _ONE_FAULT]
    index: list[Any] | None = None

    @model_validator(mode="after")
    def _rectangular(self) -> Split:
        names = self.columns
        if "text" not in names or len(set(names)) < len(names):
            raise ValueError("one column is text, and no two have one name")
        if any(len(row) != len(names) for row in self.data):
            raise ValueError("every row has one cell a column")
        cells = (row[names.index(name)] for name in ("text", "document") if name in names for row in self.data)
        for cell in cells:
            if not isinstance(cell, str | None):
                raise ValueError("text and document are strings or null")
            whole_characters(cell or "")
        return self

    def rows(self) -> list[Row]:
        """Return (text, document) a row."""
        table = [dict(zip(self.columns, row, strict=True)) for row in self.data]
        return [(row["text"], row.get("document")) for row in table]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | None) else value


Column = Annotated[list[Cell], _ONE_FAULT, BeforeValidator(_listed)]


class Columns(BaseModel):
    """A table as lists, a list a column; a column may be a single cell."""

    text: Column
    document: Column | None = None

    @model_validator(mode="after")
    def _rectangular(self) -> Columns:
        if self.document is not None and len(self.document) != len(self.text):
            raise ValueError("the columns are of one length")
        return self


Records = Annotated[list[Record], _ONE_FAULT]
#: So that only the faults of the one that was meant are told.
Either = Annotated[
    Annotated[Columns, Tag(COLUMNS)] | Annotated[Records, Tag(RECORDS)],
    Discriminator(lambda value: RECORDS if isinstance(value, list) else COLUMNS),
]
Table = Split | Columns | list[Record]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")

    params: Annotated[dict[str, Any], Field(max_length=0)] | None = Field(None, description="The model takes none")

    def rows(self) -> list[Row]:
        """Return (text, document) a row."""
        table: Table = next(getattr(self, form) for form in _FORMS if form in type(self).model_fields)
        if isinstance(table, Split):
            return table.rows()
        if isinstance(table, Columns):
            return list(zip(table.text, table.document or [None] * len(table.text), strict=True))
        return [(row.text, row.document) for row in table]


class SplitForm(_Form):
    """``{"dataframe_split": {"columns": …, "data": …}}``."""

    dataframe_split: Split


class RecordsForm(_Form):
    """``{"dataframe_records": [{"text": …}, …]}``."""

    dataframe_records: Records


class InputsForm(_Form):
    """``{"inputs": …}``: columns or records."""

    inputs: Either


class InstancesForm(_Form):
    """``{"instances": …}``: columns or records."""

    instances: Either


def _which(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return next((form for form in _FORMS if form in value), None)
    return next((form for form in _FORMS if hasattr(value, form)), None)


Invocation = Annotated[
    Annotated[SplitForm, Tag("dataframe_split")]
    | Annotated[RecordsForm, Tag("dataframe_records")]
    | Annotated[InputsForm, Tag("inputs")]
    | Annotated[InstancesForm, Tag("instances")],
    Discriminator(_which, custom_error_type="form", custom_error_message=f"give exactly one of {', '.join(_FORMS)}"),
]


class Scored(BaseModel):
    """A row of the answer."""

    label: Label
    p_claim: float
    p_denial: float
    p_attribution: float
    p_background: float


class Predictions(BaseModel):
    """The answer, a row for each row of the table."""

    predictions: list[Scored]


@router.post(
    "/invocations",
    response_model=Predictions,
    responses=documented(400, 401, 408, 413, 415, 422, 429, 500, 503, 504),
)
async def invocations(table: Invocation, here: Here) -> Response:
    """Score a table as MLflow sends it."""
    served = here.keeper.current
    rows = table.rows()
    if len(rows) > (limit := here.settings.max_sentences):
        raise ProblemError(422, f"the table has {len(rows)} rows; the most is {limit}: send it in pieces")
    read = {document or text or "" for text, document in rows}  # many rows, one document
    try:
        with here.batcher.admit(sum(here.cost(served, text) for text in read)):
            placed, articles = await run_sync(place_rows, rows)
        # A text that is only part of a sentence of its document has an article of its own: there may be more now.
        with here.batcher.admit(sum(here.cost(served, article.text) for article in articles)):
            scored = await run_sync(_render, placed, articles, await here.label(served, articles))
    except OverloadError as error:
        raise overloaded(error) from None
    return Response(scored, media_type="application/json")


def _render(
    placed: Sequence[Placed | None], articles: Sequence[Article], predicted: Sequence[Sequence[Prediction]]
) -> str:
    answers = answer_rows(placed, articles, ([one.probabilities for one in article] for article in predicted))
    return Predictions(predictions=[Scored.model_validate(row) for row in answers]).model_dump_json()


_PLAIN: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}


@router.get("/ping", response_class=Response, responses=_PLAIN)
async def ping() -> Response:
    """Say that the server is there."""
    return Response("\n", media_type="text/plain")


@router.get("/version", response_class=Response, responses={**_PLAIN, **documented(401)})
async def version() -> Response:
    """Return the version of selon."""
    return Response(__version__, media_type="text/plain")
