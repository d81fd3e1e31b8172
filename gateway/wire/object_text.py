"""A call's arguments as the text of one JSON object, passed on while they come.

Messages have an object where chats have a text that only ought to be one. Models write texts that are none, and clients
give up at them. What can be told apart is mended: bare line breaks in texts, commas before a closing bracket, `NaN`.
Where a text stops being JSON, what follows stands whole under `INVALID_JSON`, the name that Anthropic's documentation
gives it, so that neither the tool nor the model is told something that nobody wrote.
"""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Final

from pointsman.gateway.wire.lenient_json import json_text, mended, read_json

#: Under this name stands what is no JSON.
INVALID: Final = "INVALID_JSON"
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]+')
_BLANK: Final = re.compile(r"[ \t\r\n]+")
_WORD: Final = re.compile(r"[-+.\w]+")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_WORDS: Final = frozenset({"true", "false", "null"})
_NOTHING: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[^u])", re.DOTALL)
_ESCAPED_HIGH: Final = re.compile(r"\\u[dD][89abAB]")
_ESCAPED_LOW: Final = re.compile(r"\\u[dD][c-fC-F]")
_ESCAPABLE: Final = '"\\/bfnrtu'
_CLOSER: Final = {"{": "}", "[": "]"}
#: Levels of lists and objects; readers give up at more.
_DEEPEST: Final = 240


class ObjectText:
    """Takes a text in pieces and gives that of an object.

    Attributes:
        complete: Whether the object is there with its last brace, which `close` gives.
    """

    __slots__ = ("_comma", "_filled", "_key", "_left", "_other", "_rest", "_stack", "_stopped", "_want", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._stack: list[str] = []
        self._want = "object"  # what comes next: object, key, colon, value, text, comma, or rest
        self._stopped = ""  # what was to come where the text stopped being JSON
        self._key = False  # whether the text that is open names a field
        self._comma = False  # one that came, and is passed on once something follows it
        self._filled = False  # whether the outermost object has a field
        self._left = ""  # what cannot be told yet
        self._other = StringIO()  # a text that does not begin as an object
        self._rest = StringIO()  # what comes after the text stopped being JSON

    def feed(self, text: str) -> str:
        """The next piece; what can be passed on of it."""
        if self._left:
            text, self._left = self._left + text, ""
        out: list[str] = []
        at = 0
        while at < len(text):
            if self._want == "text":
                at = self._text(text, at, out)
            elif self._want == "rest":
                self._rest.write(text[at:])
                break
            elif self._want == "other":
                self._other.write(text[at:])
                break
            else:
                at = self._between(text, at, out)
            if self._left:
                break
        return "".join(out)

    @property
    def unfinished(self) -> bool:
        """Whether an object has begun and has no end yet."""
        return bool(self._stack) and not self.complete

    def close(self, *, cut: bool) -> str:
        """The end of the object; empty where there is nothing but an empty one.

        Args:
            cut: Whether the model had to stop before it was through: an object without its end is then what it wrote.
        """
        if self._want in ("object", "other"):
            return self._whole_other()
        out: list[str] = []
        left, self._left = self._left, ""
        if left and self._want == "text":
            out.append("\\ufffd" if _ESCAPED_HIGH.match(left) else "")
        elif left and not self._word(left, out) and not cut:
            self._rest.write(left)
            self._stop()
        want = self._stopped or self._want
        if want == "text":
            out.append('"')
            want = "colon" if self._key else "comma"
        if want == "colon":
            out.append(":null")
        elif want == "value" and self._stack[-1] == "}":
            out.append("null")
        out += self._stack[:0:-1]
        rest = self._rest.getvalue().strip()
        if rest or not (self.complete or cut):
            out.append(("," if self._filled else "") + f'"{INVALID}":{json_text(mended(rest))}')
        out.append("}")
        return "".join(out)

    # Inside.

    def _between(self, text: str, at: int, out: list[str]) -> int:
        """What stands outside texts."""
        if (blank := _BLANK.match(text, at)) is not None:
            if self._stack and not self._comma and not self.complete:
                out.append(blank.group())
            return blank.end()
        sign = text[at]
        if self._want == "object":
            if sign == "{":
                self._open(sign, out)
                return at + 1
            self._want = "other"
            return at
        if self.complete:
            return self._after(sign, at)
        if sign == self._stack[-1] and (self._want in ("key", "comma") or (self._want == "value" and sign == "]")):
            self._comma = False
            if len(self._stack) == 1:
                self.complete = True
            else:
                out.append(self._stack.pop())
                self._want = "comma"
            return at + 1
        if self._want == "comma" and sign == ",":
            self._comma = True
            self._want = "key" if self._stack[-1] == "}" else "value"
            return at + 1
        if self._want == "colon" and sign == ":":
            out.append(sign)
            self._want = "value"
            return at + 1
        return self._value(text, at, out)

    def _value(self, text: str, at: int, out: list[str]) -> int:
        """A name or a value begins."""
        sign = text[at]
        if sign == '"' and self._want in ("key", "value"):
            self._begin(out)
            self._key = self._want == "key"
            self._want = "text"
            out.append(sign)
            return at + 1
        if self._want == "value" and sign in "{[":
            if len(self._stack) < _DEEPEST:
                self._open(sign, out)
                return at + 1
            self._stop()
            return at
        word = _WORD.match(text, at) if self._want == "value" else None
        if word is None:
            self._stop()
            return at
        if word.end() == len(text):
            self._left = word.group()
            return word.end()
        if not self._word(word.group(), out):
            self._stop()
            return at
        return word.end()

    def _after(self, sign: str, at: int) -> int:
        """What comes after the last brace. Some servers begin with an empty object, and then say the real one."""
        if sign == "{" and not self._filled:
            self.complete = False
            return at + 1
        self._stop()
        return at

    def _word(self, word: str, out: list[str]) -> bool:
        """A number or a name; whether it is one."""
        if word not in _WORDS and word not in _NOTHING and _NUMBER.fullmatch(word) is None:
            return False
        self._begin(out)
        out.append("null" if word in _NOTHING else word)
        self._want = "comma"
        return True

    def _text(self, text: str, at: int, out: list[str]) -> int:
        """What stands within a text."""
        if (plain := _PLAIN.match(text, at)) is not None:
            out.append(plain.group())
            return plain.end()
        sign = text[at]
        if sign == '"':
            out.append(sign)
            self._want = "colon" if self._key else "comma"
            return at + 1
        if sign != "\\":
            out.append(json.dumps(sign)[1:-1])
            return at + 1
        return self._escape(text, at, out)

    def _escape(self, text: str, at: int, out: list[str]) -> int:
        escape = _ESCAPE.match(text, at)
        if escape is None:
            if len(text) - at < 6 and re.fullmatch(r"\\(?:u[0-9a-fA-F]*)?", text[at:]) is not None:
                self._left = text[at:]
                return len(text)
            out.append("\\\\")
            return at + 1
        if _ESCAPED_HIGH.match(text, at) is not None:
            low = text[escape.end() : escape.end() + 6]
            if len(low) < 6 and "\\u".startswith(low[:2]):
                self._left = text[at:]
                return len(text)
            if _ESCAPED_LOW.match(low) is not None and _ESCAPE.fullmatch(low) is not None:
                out.append(escape.group() + low)
                return escape.end() + 6
            out.append("\\ufffd")
        elif _ESCAPED_LOW.match(text, at) is not None:
            out.append("\\ufffd")
        elif text[at + 1] in _ESCAPABLE:
            out.append(escape.group())
        else:
            # `\d` of a pattern, or of a path: the backslash is meant.
            out.append("\\\\")
            return at + 1
        return escape.end()

    def _begin(self, out: list[str]) -> None:
        """A field or a value begins."""
        if self._comma:
            out.append(",")
            self._comma = False
        if len(self._stack) == 1:
            self._filled = True

    def _open(self, sign: str, out: list[str]) -> None:
        if self._stack:
            self._begin(out)
        self._stack.append(_CLOSER[sign])
        out.append(sign)
        self._want = "key" if sign == "{" else "value"

    def _stop(self) -> None:
        """From here on it is no JSON."""
        self._stopped, self._want = self._want, "rest"

    def _whole_other(self) -> str:
        text = (self._other.getvalue() + self._left).strip()
        for _ in range(2):
            try:
                value = read_json(text.encode("utf-8", "surrogatepass"))
                if value is None or value in ("", [], {}):
                    return ""
                if isinstance(value, dict):
                    return json_text(value)
            except ValueError:
                break
            if not isinstance(value, str):
                break
            # An object within a text.
            text = value
        return json_text({INVALID: mended(text)}) if text else ""
