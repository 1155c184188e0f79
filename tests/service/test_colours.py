"""The page's colours: every label is told apart by every kind of colour vision, and text is easy to read on all.

Simulation: Machado, Oliveira and Fernandes (2009), severity 1; distance: CIE76 in CIELAB; contrast: WCAG 2.
"""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

STYLE = (Path(__file__).parents[2] / "train/web/style.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)[:2]
)
for theme in (LIGHT, DARK):
    theme["background"] = theme["paper"]  # context is printed on the paper itself
TINTS = ("claim", "denial", "attribution", "background")
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _linear(colour: str) -> NDArray[np.float64]:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(colour: str, vision: str) -> tuple[float, float, float]:
    xyz = _TO_XYZ @ np.clip(np.array(VISION[vision]) @ _linear(colour), 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((float(_TO_XYZ[1] @ _linear(colour)) for colour in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _rule(selector: str) -> str:
    """Return what the first rule whose selectors end so declares."""
    return STYLE.split(f"{selector} {{", 1)[1].split("}", 1)[0]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_tints_are_told_apart(theme: dict[str, str], vision: str) -> None:
    for one, other in itertools.combinations(TINTS, 2):
        assert math.dist(_lab(theme[one], vision), _lab(theme[other], vision)) > 9, (one, other)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_is_easy_to_read(theme: dict[str, str]) -> None:
    for tint in TINTS:
        assert _contrast(theme["ink"], theme[tint]) >= 7, tint  # AAA
        assert _contrast(theme["review"], theme[tint]) >= 4.5, tint  # the small question mark
    for soft in ("soft", "accent", "review", "claim-mark", "denial-mark", "attribution-mark"):
        assert _contrast(theme[soft], theme["paper"]) >= 4.5, soft  # AA
    assert _contrast(theme["accent-ink"], theme["accent"]) >= 4.5
    for label in TINTS:
        assert _contrast(theme[f"{label}-mark"], theme[label]) >= 3, label  # a mark is a picture
    border = re.search(r"border: 1px solid var\(--(\w+)\)", _rule("textarea"))
    assert border is not None
    assert min(_contrast(theme[border[1]], theme[ground]) for ground in ("card", "paper")) >= 3
    dimmed = _rule(".sentence.dimmed")
    assert "color: var(--soft)" in dimmed  # measured above, and not made paler
    assert "opacity" not in dimmed


def test_every_colour_is_used() -> None:
    for name in re.findall(r"--([\w-]+): ", STYLE):
        assert re.search(rf"var\(--{name}[,)]", STYLE), name
