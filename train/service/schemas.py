"""What the API takes and gives, as its document says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictStr, Tag

from train.bundle import HeldOut
from train.cues import Kind
from train.schema import HALF_CHARACTER, Label

#: Articles of one request; the size of a body bounds them too.
MOST_ARTICLES = 100
_TITLE = 1000


def whole_characters(text: str) -> str:
    """Refuse half a character (a lone surrogate), which JSON can carry but no tokenizer takes."""
    if HALF_CHARACTER.search(text):
        raise ValueError("holds half a character (a lone surrogate)")
    return text


Text = Annotated[StrictStr, AfterValidator(whole_characters)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArticleIn(_In):
    """An article to label."""

    text: Text = Field(description="The raw text; paragraphs are separated by line breaks")
    title: Annotated[Text, Field(max_length=_TITLE)] = Field("", description="The headline, which helps")
    id: Annotated[Text, Field(max_length=200)] = Field("", description="Given back as it is")


class OneArticle(ArticleIn):
    """One article."""

    parts: StrictBool = Field(False, description="Also cut each sentence where its cues begin and end")


class ManyArticles(_In):
    """Several articles, answered by one and the same model."""

    articles: Annotated[list[ArticleIn], Field(min_length=1, max_length=MOST_ARTICLES)]
    parts: StrictBool = False


def _which(value: Any) -> str:
    many = "articles" in value if isinstance(value, Mapping) else isinstance(value, ManyArticles)
    return "many" if many else "one"


LabelRequest = Annotated[
    Annotated[OneArticle, Tag("one")] | Annotated[ManyArticles, Tag("many")], Discriminator(_which)
]


class CueOut(BaseModel):
    """A word or mark by which sources show: evidence, not an explanation of the label."""

    start: int = Field(description="Code points into the article's text")
    end: int
    text: str
    kind: Kind


class Part(BaseModel):
    """A piece of a sentence and the kinds of cues it belongs to; the pieces in a row are the sentence."""

    text: str
    kinds: list[Kind]


class SentenceOut(BaseModel):
    """A sentence and its label."""

    index: int
    start: int = Field(description="Code points into the article's text")
    end: int = Field(description="Exclusive")
    paragraph: int
    text: str
    label: Label
    confidence: float
    review: bool = Field(description="The confidence is below review_below: a person should read it again")
    probabilities: dict[Label, float]
    cues: list[CueOut]
    parts: list[Part] | None = None
    truncated: bool = Field(description="Longer than the model reads; it saw the beginning")


class ArticleOut(BaseModel):
    """An article with its labels."""

    id: str
    input_sha256: str = Field(description="Of the text in UTF-8")
    sentences: list[SentenceOut]
    counts: dict[Label, int]


class ModelOut(BaseModel):
    """Which model answered."""

    name: str
    version: str | None = Field(description="In the registry; null for a model served from a folder")
    sha256: str
    selon: str = Field(description="The version of selon that serves it")


class OneLabelled(ArticleOut):
    """The answer for one article."""

    model: ModelOut
    review_below: float


class ManyLabelled(BaseModel):
    """The answer for several articles, in their order."""

    model: ModelOut
    review_below: float
    articles: list[ArticleOut]


class ModelDescription(ModelOut):
    """The model that answers now."""

    kind: str
    created: str
    labels: list[Label]
    review_below: float
    corpus: str = Field(description="The fingerprint of the articles it was trained on")
    held_out: HeldOut | None = Field(description="How often each label was right on articles it had not seen")
