"""A document with one of its nodes replaced by something else: nearly right is where readers go wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_LEAVES = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], {}, [None], [1], ["x"], {"type": "x"}, [{}], [[]]])


def _paths(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*at, key)
        yield from _paths(value, (*at, key))


def one_change(document: Any) -> st.SearchStrategy[Any]:
    """Documents that differ from a valid one in one node, at any depth."""

    def changed(path: tuple[Any, ...], value: Any) -> Any:
        new = copy.deepcopy(document)
        node = new
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        return new

    return st.builds(changed, st.sampled_from(sorted(_paths(document), key=repr)), _LEAVES)
