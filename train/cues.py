"""Cues: the words and marks by which French journalists show who vouches for a sentence.

They are found in the raw text, with offsets, so that a reader can see them; and counted, as features for the
baseline. They are evidence, never an explanation of what a model did.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from train.schema import Article
from train.segmentation import new_paragraph, open_quotations, unwrap

Kind = Literal["source", "speech", "denial", "taken back", "conditional", "hedge", "quotation", "figure"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Cue:
    """A cue in a text: code points, end-exclusive, and its kind."""

    start: int
    end: int
    kind: Kind


def _either(lines: str) -> str:
    """Return a pattern that matches any of the alternatives, which stand a few a line."""
    return "|".join(line.strip() for line in lines.strip().splitlines())


#: Regular verbs of speech, by stem; an inverted subject may follow.
_STEMS = """
    affirm ajout analys annonc argu argument accus assur cit clam commen?t complèt complét confi confirm considér
    constat critiqu demand dénombr dénonc déplor déclar détaill espér estim évoqu expliqu expos fustig gliss imput
    indiqu insist interrog ironis jug lâch lanc martel mentionn not nuanc observ pens plaid précis prévenu racont
    raill rappel rapport recens réclam redout regrett relat répliqu résum rétorqu révél salu signal soulign témoign
    tempér tranch
""".split()
_ENDINGS = "e|es|ent|er|é|ée|és|ées|a|ait|aient|ant|èrent|era|eront|erait|eraient|ons|ez"
_PATTERNS: dict[Kind, str] = {
    "source": _either(r"""
        selon|d'après|à en croire|aux dires|de source
        sources? (?:proche|policière|judiciaire|diplomatique|syndicale|concordante|gouvernementale)\w*
        sources? (?:sécuritaire|médicale|anonyme)\w*
        cité[es]* par|pour sa part|de son côté
        (?:une|l'|cette|des|les|d'une) ?(?:étude|enquête|rapport|sondage|chercheur|expert|analyste|document)s?
        un (?:rapport|sondage|document|témoin|responsable|expert|proche|diplomate)
        témoins?|riverains?|l'AFP|avocat\w*|parquet|procureur\w*|préfecture|ministre|syndicat\w*
    """),
    # « rappelle », « révèle » change their stem; they stand there as they are written.
    "speech": rf"(?:{'|'.join(_STEMS)})(?:{_ENDINGS})|"
    + _either(r"""
        dit|disent|disait|disaient|dirait|dira|disant|rappelle(?:nt)?|révèle(?:nt)?|espère(?:nt)?|tempère
        écri(?:t|vent|vait|vant)|répond(?:ent|u|ait|ant)?|soutien(?:t|nent)|soutenu|maintien(?:t|nent)
        fait (?:savoir|valoir|part|état)|faisant (?:savoir|valoir|état)|recon(?:naît|naissent|nu|nue|naissant)
        aver(?:tit|tissent|ti)|prévi(?:ent|ennent)|préven(?:u|ait)|promet(?:tent)?|promis|appel(?:le|lent|é) à
        croi(?:t|ent) savoir|croi(?:t|ent)|s'inquiète(?:nt)?
        s'(?:est|étaient|était) (?:dit|dite|inquiété|emporté|félicité|indigné|étonné|exprimé)\w*
        se félicite(?:nt)?|conclu(?:t|ent|ant)?|poursui(?:t|vent|vi)|renchéri\w*|surenchéri\w*|réag\w+
        twee?t\w*|communiqué|conférence de presse|porte-parole|au micro de|interview\w*|entretien
        a-t-(?:il|elle|on)|ont-(?:ils|elles)
    """),
    "denial": _either(r"""
        dém(?:ent|entent|entir|enti|entie|entait|entant|entis)|démentis?|nie|nient|nié|niait|niaient|niant|nier
        contest\w+|réfut\w+|récus\w+|rejet\w+|balay\w+|fau(?:x|sse|sses|ssement)|mensong\w+|calomni\w+|infond\w+
        sans fondement|aucun(?:e)? (?:preuve|élément|lien|fondement|risque)|jamais|fake|infox|intox|rumeur\w*
        contrairement à|il n'(?:a|est|y a|en est) (?:jamais|pas question|nullement|en rien)|nullement|en aucun cas
        clam\w+ (?:son|leur) innocence|innocen\w*|se défen\w+|dénué\w*|inexact\w*|erroné\w*|imaginaire|absurde
        rien ne (?:permet|prouve|démontre)|contredi\w+|à tort|n'en est rien|mise au point|rectifi\w*
        désinformation|fantaisist\w*|ridicule\w*|grotesque\w*|farfelu\w*
        pas (?:du tout )?(?:question|de base|connaissance|envisagé\w*|fondé\w*|vrai|exact\w*|le cas)
        pas (?:du tout )?à l'ordre du jour
    """),
    # « il ne nie pas », « il a d'abord nié »: no denials, though the word is there.
    "taken back": _either(r"""
        n(?:e |')(?:\w+ )?(?:dément|démentent|démenti|nie|nient|nié)\w* (?:pas|plus)
        n(?:e |')(?:\w+ )?(?:conteste|contestent|contesté|réfute|réfuté)\w* (?:pas|plus)
        n'a(?:vait)? (?:pas|ni) (?:démenti|nié|contesté|confirmé)
        (?:d'abord|initialement|longtemps) (?:nié|démenti|contesté)
        ni confirm\w+ ni \w+
    """),
    "conditional": r"(?:aur|ser|pourr|devr|fer|ir|viendr|tiendr|voudr|saur|verr)(?:ait|aient)"
    r"|[a-zéèêîôûç]{2,}[aeid]?r(?:ait|aient)\b",
    "hedge": _either(r"""
        présumé\w*|soupçonn\w+|suspect\w*|accus\w+|prétendu\w*|supposé\w*|apparemment|semble(?:nt|rait)?
        il se dit|probable\w*|peut-être|éventuel\w*|possible\w*
    """),
    # From a run's first digit alone: where that one fails, the others do, each after a look at all the rest.
    "figure": r"(?<!\d)\d[\d\s.,]*(?:\s?%|\b)",
    "quotation": r'["«»“”]|\'\'',
}
#: What a space of a pattern matches: in a wrapped text a line may end there.
_SPACE = r"(?:[ \r\n]+)"
_CUES = [
    (
        kind,
        re.compile(
            pattern if kind in ("figure", "quotation") else rf"(?<!\w)(?:{pattern.replace(' ', _SPACE)})(?!\w)",
            re.IGNORECASE,
        ),
    )
    for kind, pattern in _PATTERNS.items()
]


def find_cues(text: str) -> tuple[Cue, ...]:
    """Return the cues of a raw sentence in order of place; those of different kinds may overlap."""
    # Typographic apostrophes have the length of plain ones, so offsets hold.
    plain = text.replace("’", "'")
    found = [Cue(m.start(), m.end(), kind) for kind, pattern in _CUES for m in pattern.finditer(plain)]
    return tuple(sorted(found, key=lambda cue: (cue.start, cue.end)))


#: What a cue is called in the text that an encoder reads. Quotation marks and figures it sees for itself.
_NAMES: dict[Kind, str] = {
    "source": "source",
    "speech": "parole",
    "denial": "démenti",
    "taken back": "aveu",
    "conditional": "conditionnel",
    "hedge": "soupçon",
}


def name_cues(text: str, opened: bool) -> str:
    """Return the kinds of cues in a raw sentence as French words, and how much of it is quoted.

    ``opened`` says whether a quotation is open before the sentence.
    """
    cues = find_cues(text)
    kinds = {cue.kind for cue in cues}
    words = [name for kind, name in _NAMES.items() if kind in kinds]
    inside = _share_inside(text, [cue.start for cue in cues if cue.kind == "quotation"], opened)
    if inside:
        words.append("citation" if inside > _WHOLE else "guillemets")
    return " ".join(words)


def cue_features(article: Article) -> list[dict[str, float]]:
    """Return, for each sentence, its cues as numbers: how many of each kind, where, and the quotation's state."""
    opened, unwrapped = open_quotations(article.text, article.sentences), unwrap(article.text)
    ends = [0, *(sentence.end for sentence in article.sentences)]
    rows = []
    for place, (span, text) in enumerate(zip(article.sentences, article.sentence_texts, strict=True)):
        cues = find_cues(text)
        row: dict[str, float] = {}
        for kind, count in Counter(cue.kind for cue in cues).items():
            row[kind] = 1.0
            row[f"{kind}>1"] = float(count > 1)
        for cue in cues:
            row[f"{cue.kind} at {3 * cue.start // len(text)}/3"] = 1.0
            if cue.kind not in ("figure", "quotation"):
                # The first letters stand for the word's forms: affirme, affirmait, affirment.
                row[f"{cue.kind}={text[cue.start : cue.end].lower()[:_STEM]}"] = 1.0
        marks = [cue.start for cue in cues if cue.kind == "quotation"]
        inside = _share_inside(text, marks, opened[place])
        plain = text.replace("’", "'")
        row |= {
            "open": float(opened[place]),
            "inside": inside,
            "whole": float(inside > _WHOLE),
            "begins quoted": float(bool(marks) and marks[0] == 0),
            "question": float(text.rstrip('"»” ').endswith("?")),
            "exclamation": float("!" in text),
            "first": float(place == 0),
            "last": float(place == len(article) - 1),
            "position": place / max(len(article) - 1, 1),
            "paragraph begins": float(new_paragraph(unwrapped, ends[place], span.start)),
            "short": float(len(text) < 40),
            "long": float(len(text) > 200),
            "words": len(text.split()) / 100,
            "digits": sum(map(str.isdigit, text)) / 10,
            "names": sum(word[0].isupper() for word in text.split()) / 10,
            "no stop": float(text[-1] not in '.?!…"»”'),
            "capitals": float(text.isupper()),
            "first person": float(bool(_FIRST_PERSON.search(plain))),
            "negation": float(bool(_NEGATION.search(plain))),
        }
        rows.append({key: value for key, value in row.items() if value})
    return rows


#: From this share of its characters on, a sentence is a quotation.
_WHOLE = 0.95
#: How many letters of a cue tell which word it is.
_STEM = 8
_FIRST_PERSON = re.compile(r"(?<!\w)(?:je|j'|nous|notre|nos|mon|ma|mes|moi|on)(?!\w)|j'", re.IGNORECASE)
_NEGATION = re.compile(r"(?<!\w)(?:n'|ne(?!\w)).{1,30}?(?:pas|plus|rien|aucun\w*|jamais|personne)(?!\w)", re.I | re.S)


def _share_inside(text: str, marks: list[int], opened: bool) -> float:
    """Return the share of the sentence's characters that stand inside quotation marks."""
    inside, last, state = 0, 0, opened
    for mark in marks:
        inside += (mark - last) * state
        last, state = mark, not state
    return (inside + (len(text) - last) * state) / len(text)
