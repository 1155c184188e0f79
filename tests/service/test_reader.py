"""The reader page in headless Chromium, against a real server; skipped with a reason where there is none."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from train import __version__
from train.corpus import read_articles
from train.schema import LABELS
from train.service.app import create_app
from train.service.served import Keeper
from train.service.settings import ServiceSettings

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev group)")
CHROMIUM = os.environ.get("SELON_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or SELON_CHROMIUM")
NASTY = "<img src=x onerror=\"document.title='oups'\"> dit </textarea><script>document.title='oups'</script>"
TEXT = f"Le maire dément la grève. L'eau monte, selon la mairie.\n{NASTY}.\n=1+1 monte, selon « {NASTY} »."


@pytest.fixture(scope="module")
def serve(folder: Path) -> Iterator[Callable[..., str]]:
    servers = []

    def start(**settings: Any) -> str:
        config = uvicorn.Config(
            create_app(Keeper(str(folder)), ServiceSettings(**settings)), port=0, log_config=None, ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> str:
    return serve()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(locale="fr-FR", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert complaints == []


def _read(page: Any, text: str, title: str = "") -> None:
    page.fill("#title", title)
    page.fill("#text", text)
    page.click("#read")
    page.wait_for_selector("#reading:not([hidden])")


def _focused(page: Any) -> dict[str, str]:
    """Return the data attributes of what has the focus, and its id."""
    return page.evaluate("({ ...document.activeElement.dataset, id: document.activeElement.id })")


def _all_to_review(route: Any) -> None:
    response = route.fetch()
    answer = response.json()
    for sentence in answer["sentences"]:
        sentence["review"] = True
    route.fulfill(response=response, json=answer)


def _labels(page: Any) -> list[str]:
    classes = [node.get_attribute("class").split() for node in page.query_selector_all(".sentence")]
    return [next(label for label in LABELS if label in names) for names in classes]


def _saved(page: Any, selector: str, tmp_path: Path) -> Path:
    with page.expect_download() as download:
        page.click(selector)
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_the_example_is_read(page: Any) -> None:
    page.click("#example")
    page.wait_for_selector(".sentence")
    labels = _labels(page)
    assert len(labels) > 20
    counts = {name: int(page.inner_text(f'[data-filter="{name}"] .count')) for name in LABELS}
    assert counts == {name: labels.count(name) for name in LABELS}
    assert page.locator(".sentence > svg.mark").count() == len(labels)
    assert page.locator("#body p").count() == 18
    assert page.inner_text(".meaning") == "L’étiquette dit qui se porte garant, pas ce qui est vrai."
    assert "justes sur 100" in page.inner_text('[data-filter="claim"]')
    assert "12 articles jamais vus" in page.inner_text("#reliability")
    assert page.locator(".cue", has_text="selon").count() > 0
    assert f"logiciel selon, version {__version__}." in page.inner_text("#provenance")
    assert "Échap ramène à l’article." in page.inner_text("#detail .hint")


def test_markup_in_an_article_is_text(page: Any, tmp_path: Path) -> None:
    _read(page, TEXT, NASTY)
    assert page.title().startswith("<img")
    assert page.inner_text("#headline") == NASTY
    assert NASTY in page.inner_text("#body")
    assert page.locator("#reading img, #reading script, #body a").count() == 0
    page.hover(".sentence >> nth=2")
    assert page.locator("#detail img").count() == 0
    rows = list(
        csv.DictReader(
            io.StringIO(_saved(page, '[data-download="csv"]', tmp_path).read_text("utf-8-sig"), newline=""),
            delimiter=";",
        )
    )
    assert len(rows) == page.locator("#claims li").count() > 0
    assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_probabilities_on_hover_and_focus(page: Any) -> None:
    _read(page, TEXT)
    page.hover(".sentence >> nth=0")
    assert page.inner_text("#detail .heading").startswith("Démenti, ")
    values = [int(text.split()[0]) for text in page.locator("#detail .value").all_inner_texts()]
    assert len(values) == 4
    assert 98 <= sum(values) <= 102
    assert "Indices relevés" in page.inner_text("#detail")
    assert "« dément » (démenti)" in page.inner_text("#detail").replace("\u00a0", " ")
    page.keyboard.press("Tab")
    page.focus(".sentence >> nth=0")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#detail .heading").startswith("Affirmation, ")
    assert page.evaluate("document.activeElement.dataset.index") == "1"
    assert "Affirmation" in page.evaluate("document.activeElement.textContent")  # what a screen reader reads


def test_filters(page: Any) -> None:
    _read(page, TEXT)
    page.click('[data-filter="denial"]')
    dimmed = page.locator(".sentence.dimmed").count()
    assert dimmed == sum(label != "denial" for label in _labels(page)) > 0
    assert page.get_attribute('[data-filter="denial"]', "aria-pressed") == "true"
    page.click('[data-filter="denial"]')
    assert page.locator(".sentence.dimmed").count() == 0


def test_corrections_with_one_key(page: Any, tmp_path: Path) -> None:
    _read(page, TEXT, "Un titre")
    before = _labels(page)
    assert page.is_disabled("#corrections")
    page.focus(".sentence >> nth=0")
    page.keyboard.press("c")
    assert _labels(page) == ["background", *before[1:]]
    assert page.inner_text("#corrections-count") == "1 corrigée"
    assert "Corrigé" in page.inner_text("#detail")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("d")
    page.keyboard.press("a")  # back to what the model said: confirmed
    assert page.inner_text("#corrections-count") == "1 corrigée, 1 confirmée"
    path = _saved(page, "#corrections", tmp_path)
    (article,) = read_articles(path)
    assert article.labels == ("background", *before[1:])
    assert article.title == "Un titre"
    annotations = [json.loads(line)["annotations"] for line in path.read_text("utf-8").splitlines()]
    assert annotations[:2] == [{"model": "denial", "reader": "background"}, {"model": "claim", "reader": "claim"}]
    assert annotations[2:] == [{"model": label} for label in before[2:]]  # the reader said nothing of the others
    assert "Retirer" in str(page.get_attribute('[data-correct="claim"]', "title"))
    page.focus(".sentence >> nth=1")
    page.keyboard.press("a")  # chosen again: taken back
    assert page.inner_text("#corrections-count") == "1 corrigée"
    page.dblclick('[data-correct="denial"]')
    page.keyboard.down("c")
    page.keyboard.down("c")  # held down
    page.keyboard.up("c")
    assert _labels(page) == ["background", "background", *before[2:]]
    page.click('[data-correct="background"]')
    page.focus(".sentence >> nth=0")
    page.keyboard.press("c")
    assert _labels(page) == before
    assert page.inner_text("#corrections-count") == ""
    assert page.is_disabled("#corrections")


def test_a_label_is_confirmed(page: Any) -> None:
    page.route("**/v1/label", _all_to_review)
    _read(page, TEXT)
    left = page.locator(".sentence.review").count()
    page.keyboard.press("n")  # from the headline
    assert _focused(page)["index"] == "0"
    page.keyboard.press("d")
    assert page.locator(".sentence.review").count() == left - 1
    assert page.inner_text('[data-filter="review"] .count') == str(left - 1)
    assert page.inner_text("#detail .heading").replace("\u00a0", " ").startswith("Confirmé : démenti")
    assert "Démenti, confirmé" in page.text_content(".sentence >> nth=0")
    page.keyboard.press("N")  # with the caps lock
    assert _focused(page)["index"] == "1"
    page.keyboard.press("n")
    page.keyboard.press("Shift+N")
    assert _focused(page)["index"] == "1"


def test_the_pointer_does_not_change_what_is_corrected(page: Any) -> None:
    _read(page, TEXT)
    before = _labels(page)
    page.click(".sentence >> nth=0")
    heading = page.inner_text("#detail .heading")
    page.hover(".sentence >> nth=1")  # on the way to the details
    page.hover(".sentence >> nth=2")
    assert page.inner_text("#detail .heading") == heading
    page.click('[data-correct="attribution"]')
    page.hover(".sentence >> nth=1")
    page.keyboard.press("c")
    assert _labels(page) == ["background", *before[1:]]
    page.keyboard.press("Escape")
    assert _focused(page)["index"] == "0"
    page.keyboard.press("Escape")
    page.hover(".sentence >> nth=2")  # now the pointer leads again
    assert page.get_attribute(".sentence.current", "data-index") == "2"


def test_the_focus_goes_to_the_details_and_back(page: Any) -> None:
    _read(page, TEXT)
    assert _focused(page)["id"] == "headline"
    page.keyboard.press("ArrowDown")
    assert _focused(page)["index"] == "0"
    assert page.get_by_role("button", name="Démenti : Le maire dément la grève.").count() == 1
    page.keyboard.press("Enter")
    assert _focused(page)["correct"] == "denial"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert _labels(page)[0] == _focused(page)["correct"] == "attribution"
    page.keyboard.press("Escape")
    assert _focused(page)["index"] == "0"
    page.keyboard.press("Escape")
    assert _focused(page)["id"] == "article"
    page.keyboard.press("ArrowDown")  # goes on from where it was
    assert _focused(page)["index"] == "1"


def test_corrections_are_not_lost_silently(page: Any, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    _read(page, TEXT)
    page.focus(".sentence >> nth=0")
    page.keyboard.press("c")
    page.click("#again")
    assert asked == ["confirm"]
    with contextlib.suppress(sync_api.Error):  # the reader stays on the page
        page.goto("about:blank", timeout=5_000)
    assert asked == ["confirm", "beforeunload"]
    assert page.is_visible("#reading")
    _saved(page, "#corrections", tmp_path)
    page.click("#again")
    assert len(asked) == 2
    assert page.is_visible("#compose")


def test_wrapped_text_is_taken_away_unwrapped(page: Any, tmp_path: Path) -> None:
    text = (
        "Le maire dément la grève annoncée pour lundi matin par le syn-\n"
        "dicat des transports de la ville, selon un communiqué du ser-\n"
        "vice de presse.\n\nL'eau monte, selon la mairie de la ville de tout le\n- petit - port."
    )
    _read(page, text)
    page.focus(".sentence >> nth=1")
    page.keyboard.press("a")
    (article,) = read_articles(_saved(page, "#corrections", tmp_path))
    assert "le syndicat des transports" in article.sentence_texts[0]
    assert article.sentence_texts[1].startswith("L'eau monte, selon la mairie de la ville de tout le - petit")
    assert (
        len(_saved(page, '[data-download="md"]', tmp_path).read_text("utf-8").split("\n- "))
        == 1 + page.locator("#claims li").count()
    )


def test_another_article_leaves_the_headline_of_the_last(page: Any) -> None:
    _read(page, TEXT, "Premier titre")
    page.click("#again")
    page.evaluate("navigator.clipboard.writeText = null")
    page.keyboard.insert_text("x")  # typed over the text, which is selected
    assert page.input_value("#text") == "x"
    assert page.input_value("#title") == "Premier titre"
    page.evaluate("document.querySelector('#text').select()")
    page.evaluate("document.querySelector('#text').dispatchEvent(new ClipboardEvent('paste', { bubbles: true }))")
    assert page.input_value("#title") == ""


def test_the_list_of_claims(page: Any, tmp_path: Path) -> None:
    _read(page, TEXT)
    claims = page.locator("#claims li a").all_inner_texts()
    assert claims[0] == "L'eau monte, selon la mairie."
    table = json.loads(_saved(page, '[data-download="json"]', tmp_path).read_text("utf-8"))
    assert [claim["text"] for claim in table["claims"]] == claims
    assert all(TEXT[claim["start"] : claim["end"]] == claim["text"] for claim in table["claims"])
    assert len(table["model"]["sha256"]) == 64
    markdown = _saved(page, '[data-download="md"]', tmp_path).read_text("utf-8")
    assert "- L'eau monte, selon la mairie." in markdown
    assert "<script" not in markdown.replace("\\<", "")
    page.click("#claims a >> nth=0")
    assert page.evaluate("document.activeElement.dataset.index") == "1"


def test_a_corrected_claim_has_its_own_confidence(page: Any, tmp_path: Path) -> None:
    with page.expect_response("**/v1/label") as answer:
        _read(page, TEXT)
    page.focus(".sentence >> nth=0")
    page.keyboard.press("a")
    (first, *_) = json.loads(_saved(page, '[data-download="json"]', tmp_path).read_text("utf-8"))["claims"]
    assert first["corrected"]
    assert first["confidence"] == answer.value.json()["sentences"][0]["probabilities"]["claim"]


def test_the_list_is_copied_without_a_clipboard(page: Any) -> None:
    _read(page, TEXT)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.evaluate("addEventListener('copy', () => { window.copied = String(getSelection()); })")
    page.click("#copy")
    sync_api.expect(page.locator("#status")).to_have_text("Liste copiée.")
    assert page.evaluate("window.copied").startswith("– L'eau monte, selon la mairie.")
    assert _focused(page)["id"] == "copy"
    page.evaluate("document.execCommand = () => false")
    page.click("#copy")
    sync_api.expect(page.locator("#status")).to_have_text("La liste n’a pas pu être copiée.")


def test_a_later_article_overtakes_the_one_before(page: Any) -> None:
    held: list[Any] = []
    page.route("**/v1/label", lambda route: route.continue_() if held else held.append(route))
    page.fill("#title", "Le premier")
    page.fill("#text", TEXT)
    with page.expect_request("**/v1/label"):
        page.click("#read")
    page.click("#example")
    sync_api.expect(page.locator("#headline")).to_have_text("Article sans titre")
    with contextlib.suppress(sync_api.Error):  # the page no longer waits for it
        held[0].continue_()
    page.click("#again")
    _read(page, "Un pont.", "Le dernier")
    assert page.inner_text("#headline") == "Le dernier"
    assert page.inner_text("#status").startswith("1 phrase, dont ")


def test_a_headline_typed_for_a_file_is_kept(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "article.txt"
    path.write_text("Un pont.", encoding="utf-8")
    page.fill("#title", "Le pont")
    page.set_input_files("#file", path)
    sync_api.expect(page.locator("#headline")).to_have_text("Le pont")
    page.click("#again")
    page.set_input_files("#file", path)  # another file: that headline was not typed for it
    sync_api.expect(page.locator("#headline")).to_have_text("Article sans titre")


def test_files_of_any_age_are_opened(page: Any, tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16"):
        path = tmp_path / f"{encoding}.txt"
        raw = "Le maire dément la grève.\r\nL’eau monte, selon lui."
        path.write_bytes(raw.encode(encoding))
        page.set_input_files("#file", path)
        page.wait_for_selector("#reading:not([hidden])")
        (claim,) = json.loads(_saved(page, '[data-download="json"]', tmp_path).read_text("utf-8"))["claims"]
        assert raw[claim["start"] : claim["end"]] == "L’eau monte, selon lui."  # into the file, not the text field
        assert page.locator("#body p").count() == 2
        page.click("#again")
    path.write_bytes(b"PK\x03\x04\0\0")
    page.set_input_files("#file", path)
    sync_api.expect(page.locator("#message")).to_have_text("Ce fichier n’est pas un fichier texte.")


def test_it_fits_a_phone_and_goes_dark(browser: Any, address: str) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    page = context.new_page()
    page.goto(address)
    page.tap("#example")
    page.wait_for_selector(".sentence")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(23, 22, 20)"
    assert not page.is_visible("#detail")
    low = page.locator(".sentence >> nth=3")
    low.evaluate("node => scrollBy(0, node.getBoundingClientRect().bottom - innerHeight + 4)")
    low.tap()
    assert page.is_visible("#detail .rows")
    end = low.evaluate("node => node.getBoundingClientRect().bottom")
    assert end <= page.locator("#detail").bounding_box()["y"]  # the details do not cover their sentence
    page.locator("#detail .close").tap()
    assert not page.is_visible("#detail")
    assert _focused(page)["index"] == "3"
    page.mouse.move(180, 300)
    page.hover(".sentence >> nth=3")
    assert not page.is_visible("#detail")
    small = page.locator("button:visible").evaluate_all(
        "all => all.filter(b => b.getBoundingClientRect().height < 24).length"
    )
    assert small <= 1  # all but the way back are easy to hit
    context.close()


@pytest.mark.parametrize("width", [320, 1280])
def test_a_long_word_does_not_widen_the_page(browser: Any, address: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 256})
    page.goto(address)
    link = "https://example.org/" + "a" * 200
    _read(page, f"Le pont est vert, selon {link} et le maire. Il part, dit-il. Fin, selon lui.", link)
    page.keyboard.press("End")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    end, top = (page.locator(part).bounding_box() for part in (".sentence >> nth=2", "#detail"))
    assert width > 320 or end["y"] + end["height"] <= top["y"]  # as small as at a zoom of 400 %
    page.close()


def test_a_filter_shows_without_colours(browser: Any, address: str) -> None:
    page = browser.new_page(forced_colors="active", reduced_motion="reduce")
    page.goto(address)
    _read(page, TEXT)
    looks = "node => [getComputedStyle(node).outline, getComputedStyle(node).color].join()"
    parts = [page.locator(".filter.denial"), page.locator(".sentence:not(.denial)").first]
    before = [part.evaluate(looks) for part in parts]
    page.click(".filter.denial")
    page.mouse.move(0, 0)
    assert all(part.evaluate(looks) != look for part, look in zip(parts, before, strict=True))
    page.close()


def test_a_server_that_wants_a_token(browser: Any, serve: Callable[..., str]) -> None:
    page = browser.new_page()
    page.goto(serve(token="un-jeton-assez-long"))
    page.fill("#text", TEXT)
    page.click("#read")
    page.wait_for_selector("#token", state="visible")
    sync_api.expect(page.locator("#message")).to_contain_text("vérifiez-le")
    page.fill("#token", "un-jeton-assez-long")
    page.click("#read")
    page.wait_for_selector(".sentence")
    page.close()


def test_failures_are_told_in_french(browser: Any, serve: Callable[..., str]) -> None:
    page = browser.new_page()
    page.goto(serve(max_body=300, max_sentences=3))
    for text, said in (
        ("a" * 400, "trop long pour ce serveur"),
        ("Un pont. " * 5, "ne peut pas lire cet article"),
        (" ", "Collez d’abord"),
    ):
        page.fill("#text", text)
        page.click("#read")
        sync_api.expect(page.locator("#message")).to_contain_text(said)
    page.route("**/v1/model", lambda route: route.abort())
    _read(page, "Un pont.")  # an article is shown without the figures too
    assert "n’ont pas pu être lus" in page.inner_text("#reliability")
    page.click("#again")
    page.route("**/v1/label", lambda route: route.abort())
    page.fill("#text", "Un pont.")
    page.click("#read")
    sync_api.expect(page.locator("#message")).to_contain_text("ne répond pas")
    page.close()
