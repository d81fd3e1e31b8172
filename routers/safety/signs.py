"""Signs in the wording of a prompt that it asks for harm, or that it does not. English; each is a list one can read."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from pointsman.routers.types import FloatArray

#: What harm is done with, done by, or done to; regular expressions.
_HARM: Final = (
    r"abduct\w*|arson|assassinat\w*|assault\w*|blackmail\w*|bomb\w*|botnet|bribe\w*|burgl\w*|clone|cocaine|contraband",
    r"corpse|counterfeit\w*|crack(?:ing)?|ddos|deepfake|deadly|derail\w*|detonat\w*|drug\w*|explosive\w*|explod\w*",
    r"exploit|extort\w*|extract|fentanyl|forg(?:e|ed|ing)|fraud\w*|grenade|groom\w*|gun|hack\w*|heroin|hijack\w*|hitman",
    r"humiliat\w*|identity|jam|keylogger|kidnap\w*|kill\w*|launder\w*|lethal|lynch\w*|malware|mdma|meth",
    r"methamphetamine|murder\w*|napalm|nude\w*|overdose|pathogen|phish\w*|pistol|poach\w*|poison\w*|pornograph\w*",
    r"ransom\w*|rape|rifle|ricin|rob|robb\w*|sabotag\w*|sarin|sexual\w*|shoot\w*|shoplift\w*|silencer|slur\w*",
    r"smuggl\w*|spyware|stab\w*|stalk\w*|steal\w*|stolen|strangl\w*|suicid\w*|terror\w*|threaten\w*|tortur\w*",
    r"traffick\w*|trojan|vermin|virus|weapon\w*|worm|nerve agent|fake|insult\w*|inferior|brakes|dead body",
    r"(?:end|take) (?:my|her|his) life|(?:cut|hurt|starve|kill) (?:myself|me)|break into|passwords?|card numbers?",
)
#: Somebody wants to do something, or to have it done.
_DOING: Final = (
    r"\bhow (?:do|can|could|would|should) (?:i|we|you|one|someone|somebody)\b|\bhow to\b|\bsteps?\b",
    r"\binstructions? (?:for|to)\b|\bi (?:need|want) (?:to|the|my|a)\b|\bwhat do i need\b",
    r"^(?:please )?(?:write|give|tell|show|teach|help|make|create|generate|plan|draft)\b",
    r"^(?:please )?(?:compose|explain how|describe how|find|provide|list|code|build|design|develop|outline)\b",
    r"\b(?:best|quickest|easiest|fastest|least painful) (?:way|method|place)\b",
    r"\b(?:tips|tricks|ways|recipe|guide|blueprint|tutorial) (?:for|to|of)\b",
)
#: Nobody is to find out.
_EVASION: Final = (
    r"\bwithout (?:\w+ ){0,4}(?:caught|knowing|noticing|noticed|evidence|traces?|detected|detection)\b",
    r"\bwithout (?:\w+ ){0,4}(?:permission|asking|consent)\b",
    r"\b(?:so|such) that (?:nobody|no one|nothing|the police|they|it) \w+",
    r"\bget(?:ting)? away with\b|\bundetect\w*|\buntrace\w*|\bsecretly\b|\bevad\w+\b|\bbypass\w*\b",
    r"\b(?:nobody|no one) (?:finds|notices|knows|sees)\b|\blooks? like an? (?:accident|suicide)\b",
    r"\bpast the (?:guards?|police|control|security)\b",
)
#: It is done to somebody.
_VICTIM: Final = (
    r"\b(?:my|a|the|some|this|her|his) (?:\w+ )?(?:wife|husband|ex|girlfriend|boyfriend|neighbou?r|boss|partner)\b",
    r"\b(?:my|a|the|some|this|her|his) (?:\w+ )?(?:flatmate|colleague|classmate|girl|boy|child|woman|man|person)\b",
    r"\b(?:my|a|the|some|this|her|his) (?:\w+ )?(?:judge|journalist|widow)\b",
    r"\b(?:somebody|someone|people|humans|children|minors?|immigrants|muslims|jews|women|gays?|black people)\b",
)
#: The model is to forget what it was told.
_OVERRIDE: Final = (
    r"\b(?:ignore|disregard|forget|override|bypass) (?:\w+ ){0,3}(?:instructions?|rules|guidelines|restrictions)\b",
    r"\b(?:ignore|disregard|forget|override|bypass) (?:\w+ ){0,3}(?:filters?|safety)\b",
    r"\b(?:no|any|without|free of|every) (?:\w+ ){0,2}(?:restrictions?|rules|filters?|guidelines|limits|morals?)\b",
    r"\b(?:no|any|without|free of|every) (?:\w+ ){0,2}(?:ethics|censorship)\b|\bnever refuses?\b|\bdo anything now\b",
    r"\bjailbreak\w*|\bsystem prompt\b|\bevil (?:assistant|ai|twin)\b",
)
#: Harm is to be kept away, or is spoken of by those who judge it.
_CARE: Final = (
    r"\b(?:prevent|protect|avoid|stop|remove|report|detect|recogni[sz]e|spot|warn|support|secure|defend|treat)\w*\b",
    r"\b(?:help (?:a|my|her|him)|recover|safely|safety|dangerous|penalty|legal|law|crimes?|court|convicted)\w*\b",
    r"\b(?:defendant|police)\w*\b",
)
#: It is to be told of, not done.
_TELLING: Final = (
    r"^(?:what (?:is|was|are|were|does|happens)|who|why|when|where did|which|is|are|does|did|history|plot|in which)\b",
    r"\b(?:film|movie|novel|story|poem|game|minecraft|chess|song|history|century|war)\b",
    r"\b(?:python|java|linux|sql|process|thread)\b",
)


#: Name -> what it looks for; the weights of a fitted model stand in the same order.
_PATTERNS: Final[dict[str, re.Pattern[str]]] = {
    "harm": re.compile(rf"\b(?:{'|'.join(_HARM)})\b"),
    "doing": re.compile("|".join(_DOING)),
    "evasion": re.compile("|".join(_EVASION)),
    "victim": re.compile("|".join(_VICTIM)),
    "override": re.compile("|".join(_OVERRIDE)),
    "care": re.compile("|".join(_CARE)),
    "telling": re.compile("|".join(_TELLING)),
}
SIGNS: Final[tuple[str, ...]] = (*_PATTERNS, "harm and doing", "harm and care", "harm and telling")
#: More of one sign says no more.
_ENOUGH: Final = 2


def signs(text: str) -> FloatArray:
    """How often each of `SIGNS` stands in a text, twice at most, shape (len(SIGNS),)."""
    plain = " ".join(text.lower().replace("’", "'").split())
    found = {
        name: sum(1 for _, _ in zip(pattern.finditer(plain), range(_ENOUGH), strict=False))
        for name, pattern in _PATTERNS.items()
    }
    harm = bool(found["harm"])
    pairs = [harm and bool(found[name]) for name in ("doing", "care", "telling")]
    return np.array([*found.values(), *pairs], dtype=np.float32)
