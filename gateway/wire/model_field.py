"""The `model` field in the bytes of a JSON document, found without parsing it."""

from __future__ import annotations

import re
from typing import Final

#: `"model": "…"`; the group is the quoted value. Inside a JSON string it cannot match: quotes are escaped there.
MODEL_FIELD: Final = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
