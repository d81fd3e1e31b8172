"""Which language a prompt is written in, by its script and by the small words that every sentence needs.

Enough to know that a router made for English cannot read it, in microseconds and without a model: scripts tell most
languages, function words the others. A prompt is taken for one of another language on evidence alone; without any it
counts as one that can be read, as code, formulas and names do.
"""

from __future__ import annotations

import re
from typing import Final

#: Characters that are read.
_READ_CHARS: Final = 400
#: Words with which English is told at once: none of them is a word of the languages below.
_ENGLISH_WORDS: Final = (
    "the and what what's how why which who where when does did are you your this that these those with from "
    "it's can could would should write give find make tell explain please between about there their into if my "
    "not"
)
_ENGLISH: Final = frozenset(_ENGLISH_WORDS.split())
_WORDS: Final[dict[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "es": "el los las del y una por para con como cómo qué cuál cual cuánto cuanto cuántos cuantos está son "
        "escribe "
        "calcula calcule dividido dividida veces raíz tomar dime quién quien dónde donde tiene puedo "
        "puede hay esta este explica según mi es se sus lo al entre sobre",
        "fr": "le les des du et une pour avec comment quelle quel quels quelles combien pourquoi dans je vous est sont "
        "calcule calculez calculer divisé divisée fois racine prendre puis-je écris écrire ecris donne "
        "moi sur ce cette quoi qui au aux mon ma est-ce peut où par il elle c'est",
        "de": "berechne rechne geteilt durch wurzel darf nehmen der das und ist eine einen einer ein wie was "
        "ich für mit nicht von dem den wer warum wieviel viele viel "
        "schreibe kann sind zu auf welche welcher welches heißt mir bei gegen oder wenn mein meine gibt zum zur",
        "it": "il lo gli di che è una un per con come qual quale quanto quanti scrivi perché sono della del nel dei mi "
        "calcola diviso divisa volte radice posso prendere cos'è dove chi una uno si al alla tra",
        "pt": "calcule calcula dividido dividida vezes raiz posso tomar os uma um é para com como qual quanto "
        "quantos quantas escreva escreve não são você meu minha por que da "
        "do dos das em na no quem onde ao à",
        "nl": "bereken gedeeld door keer wortel mag het een van wat hoe ik voor niet dat waarom hoeveel "
        "schrijf zijn welke heet wie waar de en mijn bij aan",
        "sv": "och är en ett vad hur för att inte jag som skriv vem var av den det på till många",
        "da": "og er et hvad hvordan hvor hvem ikke jeg til på det mange skriv hva hvilken av som en",
        "pl": "jest co jak nie się czy dla ile napisz która który jaka jaki jakie na w z i od są gdzie kto",
        "cs": "je co jak na se pro kolik napiš kde který jaké která jaký v a s kdo",
        "tr": "ve bir bu ne nasıl için mi mı nedir kaç ile yaz olan hangi neden kim var",
        "id": "yang apa bagaimana adalah untuk dengan ini itu berapa dari tulis saya ke dan di siapa ibu kota tidak",
        "ro": "este și ce cum pentru un o care cât câte scrie în la din de cine unde",
        "hu": "a az és hogy mi egy nem van írj mennyi hogyan melyik mit ki hol",
        "fi": "on ja mikä mitä miten kuinka ei kirjoita monta kuka missä miksi",
        "vi": "là của và một như thế nào bao nhiêu viết không gì ở cho các có hãy",
        "sw": "ya na ni kwa wa je nini gani la katika andika vipi",
        "ca": "el els les i una per amb com què quina quin quant escriu és són",
    }.items()
}
_SCRIPTS: Final = (
    ("ja", re.compile(r"[\u3041-\u30ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")),
    ("ko", re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0620-\u064a\u066e-\u06d3\u0750-\u077f]")),
    ("he", re.compile(r"[\u05d0-\u05ea]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("bn", re.compile(r"[\u0980-\u09ff]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("te", re.compile(r"[\u0c00-\u0c7f]")),
    ("th", re.compile(r"[\u0e01-\u0e5b]")),
    ("ka", re.compile(r"[\u10a0-\u10ff]")),
    ("hy", re.compile(r"[\u0531-\u058f]")),
    ("km", re.compile(r"[\u1780-\u17ff]")),
    ("my", re.compile(r"[\u1000-\u109f]")),
    ("am", re.compile(r"[\u1200-\u137f]")),
    ("el", re.compile(r"[\u0370-\u03ff]{2,}")),
)
#: Scripts of which one word takes about so many letters.
_LETTERS_PER_WORD: Final = {"zh": 1.7, "ja": 1.7, "ko": 2.5}
_USUAL_LETTERS: Final = 5.0
#: Words of Latin letters in a text of another script with which what the text is about can be read all the same.
_LATIN_ENOUGH: Final = 5
_LATIN_WORD: Final = re.compile(r"[A-Za-z]\w*|\d+")
_ANY_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
#: Letters that tell sisters apart that share a script.
_SISTERS: Final = (("ru", "uk", frozenset("іїєґ")), ("ar", "fa", frozenset("پچژگ")), ("ar", "ur", frozenset("ٹڈڑےں")))
#: Small words that must stand in a prompt, and at what share of all its words.
_FEWEST_HITS: Final = 2
_LEAST_SHARE: Final = 0.25
#: Languages that are read where their neighbour is: a family, as far as a classifier of words carries.
_FAMILIES: Final = (
    frozenset({"es", "pt", "gl", "ca"}),
    frozenset({"sv", "da", "no", "nb", "nn"}),
    frozenset({"cs", "sk"}),
    frozenset({"ru", "uk", "be"}),
    frozenset({"id", "ms"}),
    frozenset({"hr", "sr", "bs", "sl"}),
)


def unread_language(text: str, known: frozenset[str]) -> str:
    """The language of a prompt that can be read neither itself nor by way of its family; empty where it can.

    Args:
        text: The prompt.
        known: Languages that can be read, as ISO 639 names them.
    """
    sample = text[:_READ_CHARS]
    if sample.isascii() and "en" in known and not _ENGLISH.isdisjoint(sample.lower().split()):
        return ""
    language = language_of(sample)
    if not language or language in known:
        return ""
    for family in _FAMILIES:
        if language in family and not family.isdisjoint(known):
            return ""
    return language


def language_of(text: str) -> str:
    """The language of a text as ISO 639 names it; empty where nothing tells.

    Of languages that resemble each other it may be the sister: Danish for Norwegian.
    """
    if not text.isascii():
        written = _by_script(text)
        if written is not None:
            return written
    words = _ANY_WORD.findall(text.lower().replace("’", "'"))
    if not words:
        return ""
    there = frozenset(words)
    if not _ENGLISH.isdisjoint(there):
        return "en"
    hits = {language: len(small & there) for language, small in _WORDS.items()}
    best = max(hits, key=hits.__getitem__)
    found = _WORDS[best] & there
    if len(found) >= _FEWEST_HITS and len(found) >= _LEAST_SHARE * len(there) and max(map(len, found)) > 1:
        return best
    return ""


def _by_script(text: str) -> str | None:
    """By letters that are not Latin; empty where Latin ones say enough, None where there are none."""
    counts = [(name, sum(map(len, script.findall(text)))) for name, script in _SCRIPTS]
    name, most = max(counts, key=lambda count: count[1])
    # Chinese characters stand in Japanese, kana in nothing else.
    if counts[0][1] and name == "zh":
        name = "ja"
    if most == 0:
        return None
    foreign = most / _LETTERS_PER_WORD.get(name, _USUAL_LETTERS)
    latin = len(_LATIN_WORD.findall(text))
    if foreign < 0.5 or latin > foreign or latin >= max(_LATIN_ENOUGH, foreign / 2):
        return "" if foreign >= 0.5 else None
    for shared, sister, letters in _SISTERS:
        if name == shared and not letters.isdisjoint(text):
            return sister
    return name
