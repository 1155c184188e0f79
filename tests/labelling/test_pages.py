"""The headline of a saved page is context, whatever else stands on its line or in the page's title."""

from __future__ import annotations

import pytest

from train.labelling.pages import read_page

BODY = "<p>" + "Le groupe a doublé ses bénéfices, selon la direction du site, qui s'en félicite. " * 8 + "</p>"


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("L'usine d'Évian fermera", "L'usine d'Évian fermera"),
        ("L'usine d'Évian fermera", "L’usine d’Évian  fermera"),
        ("L'usine d'Évian fermera - Le Journal", "L'usine d'Évian fermera"),
        ("L'usine d'Évian fermera", "Économie L'usine d'Évian fermera"),
    ],
)
def test_the_headline_is_no_sentence(title: str, line: str) -> None:
    head = f'<meta property="og:title" content="{title}"><title>{title}</title>'
    page = read_page(f"<html><head>{head}</head><body><article><p>{line}</p>{BODY}</article></body></html>".encode())
    assert page is not None
    assert page.title.startswith("L'usine d'Évian fermera")
    assert page.text.startswith("Le groupe a doublé")


def test_a_first_paragraph_that_ends_like_the_headline_stays() -> None:
    first = f"{'Le pont est fermé depuis lundi. ' * 4}On en parle en ville : L'usine d'Évian fermera"
    head = '<meta property="og:title" content="L\'usine d\'Évian fermera">'
    page = read_page(f"<html><head>{head}</head><body><article><p>{first}</p>{BODY}</article></body></html>".encode())
    assert page is not None
    assert page.text.startswith("Le pont est fermé")
