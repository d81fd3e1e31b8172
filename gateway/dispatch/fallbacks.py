"""Who may be asked yet: the chosen expert and its fallbacks, and how many of them one request may ask."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pointsman.experts.pool import ExpertPool


class Fallbacks:
    """The experts that a request has not asked. False where none may be asked any more.

    Args:
        pool: The experts.
        names: The chosen one first.
        most: How many may be asked.
    """

    __slots__ = ("_left", "_names", "_pool")

    def __init__(self, pool: ExpertPool, names: Sequence[str], most: int) -> None:
        self._pool = pool
        self._names = tuple(names)
        self._left = most

    def __bool__(self) -> bool:
        return self._left > 0 and bool(self._names)

    @property
    def next(self) -> str:
        """Who is asked next."""
        return self._names[0]

    def take(self) -> str:
        """Who is asked now."""
        name, self._names = self._names[0], self._names[1:]
        self._left -= 1
        return name

    def put_last(self, failed: Collection[str]) -> None:
        """Ask some of them after all others."""
        self._names = tuple(sorted(self._names, key=lambda name: name in failed))

    def mismatched(self, expert: str, *, too_long: bool) -> None:
        """An expert does not take the request as it is. It refused at once, so that does not count as an attempt.

        Args:
            expert: Who refused.
            too_long: Whether for its length: then those with no longer window would refuse as well.
        """
        spec = self._pool[expert].spec
        self._left += 1
        window = spec.context_window_tokens if too_long else None
        if window is not None:
            windows = {name: self._pool[name].spec.context_window_tokens for name in self._names}
            self._names = tuple(name for name, other in windows.items() if other is None or other > window)
        elif not too_long:
            # What one server does not know, another of its kind will not.
            alike = {name for name in self._names if self._pool[name].spec.backend == spec.backend}
            self.put_last(alike)
