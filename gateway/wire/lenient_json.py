"""Reads JSON that other programs write and a strict reader refuses: an answer is not lost for one letter of it.

Servers that cut text by UTF-16 units write half a surrogate pair, in Python they write `NaN`, and some put a byte order
mark or a bare line break where none may stand. What is written anew from it is strict.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any, Final

import orjson

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HIGH: Final = ("\ud800", "\udbff")


def read_json(data: bytes) -> Any:
    """The value in a document; its texts may hold halves of surrogate pairs, which `mended` takes out.

    Raises:
        ValueError: It is no JSON, however one looks at it.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    data = data.removeprefix(BOM_UTF8)
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    try:
        return json.loads(text, strict=False, parse_int=_whole_number, parse_constant=_nothing)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def json_text(value: object) -> str:
    """A value that `read_json` gave, as strict JSON.

    Raises:
        ValueError: It is nested too deeply to be written.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # orjson's errors are such
        pass
    try:
        return mended(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def mended(text: str) -> str:
    """Text that can be written: surrogates that are a pair are its letter, and a half alone is U+FFFD."""
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def joined(half: str, text: str) -> tuple[str, str]:
    """Text that comes in pieces, where a pair of surrogates may be cut in two.

    Args:
        half: What was held back of the piece before; empty at first.
        text: The piece.

    Returns:
        What can be written now, and what is to be held back.
    """
    if half:
        text = half + text
    if text and _HIGH[0] <= text[-1] <= _HIGH[1]:
        return mended(text[:-1]), text[-1]
    return mended(text), ""


def _whole_number(digits: str) -> int | float:
    # Longer ones are no integer for most readers, and no number at all for some.
    return int(digits) if len(digits) < 19 else float(digits)


def _nothing(_: str) -> None:
    """What NaN and the infinities are in JSON."""
