"""How much a turn of a conversation says, and whether it leans on what was said before it.

Both are read off the words, without a model: a turn of a conversation is short, and a classifier that saw single
questions alone takes "can you explain that in more detail?" for a subject of its own.
"""

from __future__ import annotations

import re
from typing import Final

#: Characters that are read; a longer turn says all it can say.
_READ_CHARS: Final = 2_000
#: A turn of more words stands by itself, whatever it refers to.
_MOST_WORDS: Final = 16.0

#: Words as blanks and signs part them; letters of scripts that write no blanks one by one.
_WORD: Final = re.compile(
    r"[぀-ヿ㐀-鿿豈-﫿\U00020000-\U0003ffff]"
    r"|[฀-໿က-႟ក-៿]"
    r"|[^\W_぀-ヿ㐀-鿿豈-﫿฀-໿က-႟ក-៿\U00020000-\U0003ffff]+"
)
#: Letters of such a script that make a word: about two in Chinese and Japanese, four in Thai, Lao, Burmese and Khmer.
_PER_WORD_EAST: Final = 1.7
_PER_WORD_SOUTH: Final = 4.0
#: Letters of a word that counts as one; one that is longer was put together from several.
_LONG_WORD: Final = 12

_BEGINS: Final = re.compile(
    r"(?:and|but|or|so|also|then|plus|instead|otherwise|again|what about|how about|what if|how come|"
    r"why(?=\W*$| not| (?:is|was|does|did|do|would|are) (?:it|this|that|they|you|these|those))|"
    r"continue|carry on|go on|keep going|try again|once more|thanks?|thank you|thx|great|perfect|ok(?:ay)?|yes|no|nope|"
    r"yeah|sure|right|still|without|in (?:simpler|other|plain|more|fewer) \w+|for how long|do the same|the same|"
    r"are you sure|are there any|any|what else|less|more|too|not|tell me more|show me|prove|hmm+|really|next|"
    # the same in German, French, Spanish, Italian, Portuguese, Dutch, Russian, Polish and Turkish
    r"und|aber|oder|warum|wieso|weiter|mach|danke|nochmal|noch|"
    r"et|mais|ou|donc|pourquoi|merci|encore|continue[zr]?|"
    r"y|pero|entonces|por qu[eé]|porqu[eê]|gracias|otra|otro|contin[uú]a|"
    r"e|ma|perch[eé]|grazie|ancora|mas|obrigad[oa]|en|maar|waarom|bedankt|"
    r"и|а|но|или|почему|зачем|спасибо|ещё|еще|продолжай|dlaczego|dzięki|neden|teşekkürler|devam)"
    r"(?![\w'’])",
    re.IGNORECASE,
)
#: Words for what was said: pronouns, parts of an answer, comparisons with it, and the same in other languages. Left out
#: are the "it" of the weather and of the clock, and the "that" that begins a clause.
_REFERS: Final = re.compile(
    r"\b(?:these|those|them|they|she|its|this(?! (?:year|month|week|weekend|morning|afternoon|evening|summer|winter))|"
    r"(?:about|by|for|of|on|with|do|does|did|is|was|and|why|if|like|in|to|than|explain|translate|rewrite|use|fix|change|"
    r"make|convert|test|get) that|that(?=\s*(?:[?.!,;]|$))|that['’]s (?:it|all|perfect|great|good|right|wrong|not)|"
    r"(?<!time )(?<!\bis )(?<!was )(?<!day )it(?! (?:going to )?(?:rain|snow))|"
    r"another|the (?:other|same)|"
    r"(?:the |your |a |each |every |that )(?:first|second|third|fourth|next|last|previous|final) "
    r"(?:step|line|part|one|point|paragraph|sentence|verse|answer|example|word|question|option|function|version)s?|"
    r"(?:shorter|longer|simpler|sadder|happier|clearer|faster|slower|funnier|darker)(?! than)|"
    r"in (?:more )?detail|(?:another|more) examples?|"
    r"your (?:answer|result|reply|code|solution|reasoning|last|work|source)s?|"
    r"you (?:mean|said|wrote|get)|(?:say|not) that|that is (?:not|wrong|right)|"
    r"the (?:steps|ending|result|title|answer|error|above|alternatives|advantages|disadvantages|risks|edge cases|"
    r"difference)(?! (?:of|between|to|in))|instead|double-check|again|one more|left over|(?:happens|comes) next|"
    r"step by step|in the style of|point of view|more simply|in modern|(?:too|also|here|else|afterwards)(?=\W*$))\b"
    r"|\b(?:das|genauer|capito|capido|entendido|compris|verstehe|dies(?:e[rsnm]?)?|es|ça|cela|ceci|esto|eso|isso|isto|questo|quello|dit|dat|это|этот|эту|подробнее|"
    r"kürzer|länger|nochmal|bunu|şunu)\b"
    r"|为什么|继续|不对|不是|重新|繼續|為什麼|這個|谢谢|这个|那个|它|再|更|なぜ|もっと|それ|これ|ありがとう|続け|왜|계속|다시|이것|그것|ทำไม|ต่อ|ขอบคุณ",
    re.IGNORECASE,
)
#: Behind so many words a pronoun stands for something that the turn itself has named.
_ANTECEDENT_WORDS: Final = 7.0
#: What is pointed at comes along: "fix this loop: for (...)".
_BRINGS_IT: Final = re.compile(r":\s*\S|\n|`")


def words_of(text: str) -> float:
    """How many words a text has, whatever script it is written in, and whether blanks part them or signs alone.

    Chinese, Japanese and Thai write no blanks, and code need not: their words are counted by letters and by signs.
    """
    count = 0.0
    for word in _WORD.findall(text[:_READ_CHARS]):
        if len(word) == 1 and word > "\u0dff":
            count += 1 / (_PER_WORD_EAST if word >= "\u3040" else _PER_WORD_SOUTH)
        else:
            count += max(1.0, len(word) / _LONG_WORD)
    return count


def leans(text: str) -> bool:
    """Whether a turn refers to what was said before it: by how it begins, or by a word for what was said.

    A turn of more than a sentence does not, whatever stands in it.
    """
    asked = text[:_READ_CHARS].strip()
    if words_of(asked) > _MOST_WORDS:
        return False
    if _BEGINS.match(asked.lstrip("¿¡ ")) is not None:
        return True
    found = _REFERS.search(asked)
    return found is not None and words_of(asked[: found.start()]) < _ANTECEDENT_WORDS and not _BRINGS_IT.search(asked)
