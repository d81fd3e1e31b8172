"""Lines that no person wrote: of logs, listings, tables, differences, stack traces and code."""

from __future__ import annotations

import re
from typing import Final

#: Characters of a line that tell what it is.
_LINE_CHARS: Final = 200

#: A line of a log, a listing, a table, a difference, a file with numbered lines, a stack trace, or code.
_DUMP: Final = re.compile(
    r"\s{2,}\S|\t|\s*\d+\s*[\t→|:]|[\[<{|}\]+@$>/;]|[*#-][^ ]|"
    r"\d{4}-\d\d-\d\d|\d\d:\d\d|[A-Z][a-z]{2} +\d+ \d\d:|(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL)\b|"
    r"(?:at|in) [\w.$<>/]+[(:]|File \"|Traceback|Caused by|\w[\w.]*(?:Error|Exception)\b|"
    r"(?:import|from|def|class|return|const|let|var|function|public|private|static|package|using|fn|pub|impl|"
    r"async|await|else|elif|end|export|type|interface|struct|enum|raise|throw|try|except|catch|with) ?\b.*[;:{}()=\w]$|"
    r"[\w./\\-]+\.\w{1,5}(?::\d+.*)?$|[\w.-]+ *[=:] *\S+$|[\w./~-]*[$%#>] |[drwx-]{10}|"
    r"[^\s/]*(?:/[^\s/]*){2,}$|\S{60,}|"
    r".*[;{}]$"
)


def of_a_dump(line: str) -> bool:
    """Whether a line looks like one of a dump."""
    if len(line) > _LINE_CHARS:
        line = line[: _LINE_CHARS // 2] + line[-_LINE_CHARS // 2 :]
    return _DUMP.match(line) is not None
