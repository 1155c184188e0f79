"""Labelled articles as a page for people, in French: it stands alone, runs no script, and prints well.

Each sentence is tinted by its label and carries the label's first letters, so that no one needs the
colours; « ? » marks what should be read again. All text is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape
from typing import Any

from train.labelling.rows import Labelled
from train.schema import LABELS, Label, Prediction
from train.segmentation import new_paragraph, unwrap

#: The labels' French names, and how the page abbreviates them.
FRENCH: dict[Label, tuple[str, str]] = {
    "claim": ("affirmation", "aff"),
    "denial": ("démenti", "dém"),
    "attribution": ("attribution", "att"),
    "background": ("contexte", ""),
}

# Tints of Okabe and Ito's colours; the underlines differ in kind as well, for eyes and printers without colours.
HEAD = """<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>selon : qui se porte garant ?</title>
<style>
:root { color-scheme: light; }
body { font: 1.08rem/1.7 Georgia, "Times New Roman", serif; color: #1a1a1a; background: #fff;
  max-width: 42rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 2.5rem 0 .3rem; overflow-wrap: anywhere; }
.counts, .legend, footer { font: .85rem/1.6 system-ui, sans-serif; color: #555; }
.legend { border-bottom: 1px solid #ccc; padding-bottom: .8rem; }
.s { padding: .1em 0; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.claim { background: #d9ebf7; border-bottom: 2px solid #0072b2; }
.denial { background: #fbe3d3; border-bottom: 3px double #d55e00; }
.attribution { background: #d6f0e7; border-bottom: 2px dotted #009e73; }
sup { font: 700 .62em/1 system-ui, sans-serif; margin-left: .15em; }
.claim sup { color: #00527f; } .denial sup { color: #9a4400; } .attribution sup { color: #006b4e; }
.background sup { color: #555; }
article + article { border-top: 1px solid #ccc; }
footer { border-top: 1px solid #ccc; margin-top: 2.5rem; padding-top: .8rem; overflow-wrap: anywhere; }
@media print {
  body { max-width: none; margin: 0; padding: 0; font-size: 11pt; }
  .s { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h1 { break-after: avoid; } p { orphans: 3; widows: 3; } article + article { break-before: page; border: 0; }
}
</style>
</head>
<body>
<p class="legend">
<span class="s claim">affirmation<sup>aff</sup></span> ·
<span class="s denial">démenti<sup>dém</sup></span> ·
<span class="s attribution">attribution<sup>att</sup></span> ·
<span class="s background">contexte</span> ·
<b>?</b> à relire<br>
L’étiquette dit qui se porte garant, pas ce qui est vrai.</p>
"""


def article_html(labelled: Labelled) -> str:
    """Return one article, paragraph by paragraph."""
    article = labelled.article
    counts = Counter(prediction.label for prediction in labelled.predictions)
    unsure = sum(prediction.review for prediction in labelled.predictions)
    parts = [f"{counts[label]} {_plural(FRENCH[label][0], counts[label])}" for label in LABELS]
    parts.append(f"{unsure} à relire")
    paragraphs = "\n".join(f"<p>{' '.join(spans)}</p>" for spans in _paragraphs(labelled))
    return (
        f"<article>\n<h1>{escape(article.title or article.id)}</h1>\n"
        f'<p class="counts">{len(article)} {_plural("phrase", len(article))} : {", ".join(parts)}</p>\n'
        f"{paragraphs}\n</article>\n"
    )


def tail(provenance: dict[str, Any]) -> str:
    """Return the end of the page: what labelled it."""
    threshold = f"{provenance['review_below']:.2f}".replace(".", ",")
    said = (
        f"Étiqueté par selon {provenance['selon']}, modèle {provenance['model']} "
        f"({provenance['model_sha256'][:12]}), {provenance['precision']} ; à relire sous {threshold}. "
        "Au survol d’une phrase : l’étiquette et sa probabilité."
    )
    return f"<footer>{escape(said)}</footer>\n</body>\n</html>\n"


def _paragraphs(labelled: Labelled) -> Iterator[list[str]]:
    article, end = labelled.article, 0
    unwrapped = unwrap(article.text)
    spans: list[str] = []
    for span, text, prediction in zip(article.sentences, article.sentence_texts, labelled.predictions, strict=True):
        if spans and new_paragraph(unwrapped, end, span.start):
            yield spans
            spans = []
        spans.append(_span(text, prediction))
        end = span.end
    if spans:
        yield spans


def _span(text: str, prediction: Prediction) -> str:
    name, letter = FRENCH[prediction.label]
    shown = f"{name} {prediction.confidence:.2f}".replace(".", ",") + (" · à relire" if prediction.review else "")
    mark = letter + (" ?" if prediction.review and letter else "?" if prediction.review else "")
    note = f"<sup>{mark}</sup>" if mark else ""
    return f'<span class="s {prediction.label}" title="{escape(shown)}">{escape(text)}{note}</span>'


def _plural(noun: str, count: int) -> str:
    return noun + "s" * (count > 1)
