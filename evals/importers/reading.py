"""Files as people have them -> rows: any of the usual encodings, delimiters and forms of JSON.

What cannot be read is refused with a sentence that names file and line; nothing that a file holds makes anything else.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pointsman.evals.errors import TableError

_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
#: Members of a JSON object that may hold the rows of a table.
_LISTS = ("data", "rows", "results", "records", "samples", "instances", "examples")
_INTEGER_DIGITS = 300


def read_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """Rows of a CSV, TSV, JSON Lines, JSON or Parquet file.

    Raises:
        TableError: It is none of these, or broken.
    """
    ending = path.suffix.lower()
    if ending in {".jsonl", ".ndjson", ".json"}:
        return read_objects(path)
    if ending in {".csv", ".tsv", ".tab", ".txt"}:
        return read_csv(path)
    if ending in {".parquet", ".pq"}:
        return _read_parquet(path)
    raise TableError(f"{path}: neither .csv, .tsv, .jsonl, .json nor .parquet")


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file with a header; separated by commas, semicolons or tabs, whichever the header uses.

    Raises:
        TableError: A row has more cells than the header, a column stands twice, or a quote is not closed.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with _open(path) as file:
        header = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=_delimiter(path, header), strict=True)
        try:
            names = [name.strip() for name in next(reader, [])]
            if again := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
                raise TableError(f"{path}: column {again[0]!r} stands twice in the header")
            for at, cells in enumerate(reader, 2):
                if any(cell.strip() for cell in cells[len(names) :]):
                    raise TableError(
                        f"{path}, row {at}: {len(cells)} cells, more than the {len(names)} of the header: "
                        f"{str(cells)[:200]}"
                    )
                if any(cells):
                    yield {name: cell for name, cell in zip(names, cells, strict=False) if name}
        except csv.Error as error:
            raise TableError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def read_json(path: Path) -> Any:
    """A JSON document; of JSON Lines the list of the lines.

    Raises:
        TableError: It is neither.
    """
    with _open(path) as file:
        text = file.read()
    try:
        return _parsed(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1:
            try:
                return [_parsed(line) for line in lines]
            except (ValueError, RecursionError):
                pass
        raise TableError(f"{path}: not JSON ({_told(error)})") from None


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSON Lines file, one at a time; a file that is one JSON list gives its members.

    Raises:
        TableError: A line is not a JSON object.
    """
    with _open(path) as file:
        start = file.read(4096).lstrip()[:1]
        file.seek(0)
        if start == "[":
            yield from _members(path, read_json(path))
            return
        for at, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = _parsed(line)
            except (ValueError, RecursionError) as error:
                raise TableError(f"{path}, line {at}: not JSON ({_told(error)})") from None
            if not isinstance(value, dict):
                raise TableError(f"{path}, line {at}: not an object")
            yield value


def read_objects(path: Path) -> Iterable[Mapping[str, Any]]:
    """Rows of a JSON file of any form: lines, a list, an object with one list, or columns as pandas writes them.

    Raises:
        TableError: It holds no rows.
    """
    if path.suffix.lower() != ".json":
        return read_jsonl(path)
    found = read_json(path)
    if isinstance(found, dict):
        lists = [found[name] for name in _LISTS if isinstance(found.get(name), list)]
        if lists:
            found = lists[0]
        elif found and all(isinstance(column, Mapping) for column in found.values()):
            keys = list(dict.fromkeys(key for column in found.values() for key in column))
            return [{name: column.get(key) for name, column in found.items()} for key in keys]
        else:
            found = [found]
    return _members(path, found)


def objects(path: Path, rows: Any, what: str) -> list[Mapping[str, Any]]:
    """A list of objects as it stands in a file.

    Raises:
        TableError: It is no list, or a member is no object.
    """
    if not isinstance(rows, list):
        raise TableError(f"{path}: not a list of {what}")
    return list(_members(path, rows))


def _members(path: Path, rows: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(rows, list):
        raise TableError(f"{path}: not a list of objects")
    for at, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise TableError(f"{path}, row {at}: not an object but {str(row)[:60]!r}")
        yield row


def parse_json(text: str | bytes, where: str) -> Any:
    """One JSON value from inside a file.

    Raises:
        TableError: It is not one; the sentence begins with `where`.
    """
    try:
        return _parsed(text.decode("utf-8") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{where}: not JSON ({_told(error)})") from None


def _parsed(text: str) -> Any:
    value = json.loads(text.removeprefix("\ufeff"), parse_int=_integer)
    return _whole(value) if "\\ud" in text or "\\uD" in text else value


def _integer(digits: str) -> int | float:
    # Python refuses to read an int of very many digits; as a float it is infinite, and judged where it matters.
    return int(digits) if len(digits) <= _INTEGER_DIGITS else float(digits)


def _whole(value: Any) -> Any:
    """The value with half characters (lone surrogates) replaced: no file could hold them."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {whole_text(name): _whole(one) for name, one in value.items()}
    return value


def whole_text(text: str) -> str:
    """The text with every half of a character beyond U+FFFF joined to its other half, or replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _told(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import polars as pl

    try:
        for batch in pl.scan_parquet(path, glob=False).collect_batches(chunk_size=65_536):
            yield from batch.iter_rows(named=True)
    except (pl.exceptions.PolarsError, OSError, OverflowError, ValueError) as error:
        raise TableError(f"{path}: not a Parquet file that can be read ({str(error).splitlines()[0][:200]})") from None
    except BaseException as error:
        # A panic of its Rust code: polars tells of a broken file in this way too, and it is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise TableError(f"{path}: not a Parquet file that can be read") from None


def _open(path: Path) -> io.TextIOBase:
    """The file as text, whatever wrote it.

    A byte order mark decides; without one it is UTF-8, and where that fails Windows-1252, as Excel writes it.
    """
    told = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if told.startswith(mark)), None)
    if encoding is None and b"\x00" in told[:4096]:
        encoding = "utf-16-be" if told[:1] == b"\x00" else "utf-16-le"
    if encoding is None:
        encoding = _without_mark(path, told)
    try:
        text = told.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not {encoding.upper()} as its first bytes say ({error})") from None
    return io.StringIO(text, newline="")


def _without_mark(path: Path, told: bytes) -> str:
    try:
        told.decode("utf-8")
    except UnicodeDecodeError as error:
        line = told.count(b"\n", 0, error.start) + 1
        # One wrong byte in a text that is UTF-8 elsewhere is damage; as another encoding the rest would turn wrong.
        mixed = any(ord(one) > 127 for one in told.decode("utf-8", "ignore"))
        try:
            told.decode("cp1252")
        except UnicodeDecodeError:
            mixed = True
        if mixed:
            raise TableError(f"{path}, line {line}: neither UTF-8 nor another encoding throughout ({error})") from None
        return "cp1252"
    return "utf-8"


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() in {".tsv", ".tab"}:
        return "\t"
    counts = {mark: header.count(mark) for mark in ",;\t"}
    return max(counts, key=lambda mark: counts[mark]) if any(counts.values()) else ","
