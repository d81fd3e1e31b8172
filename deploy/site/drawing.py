"""A few shapes as SVG, for the pictures of docs/pictures.

A picture brings its own ground and follows the reader's light or dark setting, so that it can be read on either.
"""

from __future__ import annotations

from html import escape
from typing import Final

_STYLE: Final = """
  svg { --ground: #ffffff; --ink: #1f2933; --soft: #52606d; --line: #7b8794; --box: #eef2f7; --mark: #dbe7ff;
        --good: #1b7f4b; --bad: #b42318; --mark-line: #3056b5; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #1c2128; --ink: #e6edf3; --soft: #adbac7; --line: #8b98a5; --box: #2b323b; --mark: #24386b;
          --good: #57d596; --bad: #ff8a80; --mark-line: #8fb1ff; }
  }
  text { font: 17px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--ink); }
  .title { font-weight: 700; }
  .small { font-size: 15px; fill: var(--soft); }
  .code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 16px; }
  .formula { font-family: Georgia, "DejaVu Serif", serif; font-size: 17px; font-style: italic; }
  .good { fill: var(--good); } .bad { fill: var(--bad); } .mid { text-anchor: middle; } .end { text-anchor: end; }
  rect.ground { fill: var(--ground); stroke: var(--line); stroke-opacity: .35; }
  rect.box { fill: var(--box); stroke: var(--line); } rect.mark { fill: var(--mark); stroke: var(--mark-line); }
  path, line { stroke: var(--line); stroke-width: 1.6; fill: none; }
  .strong { stroke: var(--mark-line); stroke-width: 2.4; } .cap { stroke: var(--bad); stroke-dasharray: 6 4; }
  .dashed { stroke-dasharray: 5 4; } .fill-good { fill: var(--good); stroke: none; opacity: .8; }
  .fill-bad { fill: var(--bad); stroke: none; opacity: .55; } .fill-mark { fill: var(--mark-line); stroke: none; }
  marker path { fill: var(--line); stroke: none; }
"""
_TIP: Final = """<defs>
  <marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">
    <path d="M0 0 L10 5 L0 10 z"/>
  </marker>
</defs>"""


class Drawing:
    """One picture.

    Args:
        width: In pixels.
        height: In pixels.
        title: What it shows, for those who cannot see it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"',
            f'  role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            _TIP,
            f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        ]

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """One line of text; `kind` names classes of the style."""
        self._parts.append(f'<text x="{x:g}" y="{y:g}"{_kind(kind)}>{escape(words)}</text>')

    def lines(self, x: float, y: float, words: str, kind: str = "", leading: float = 20) -> None:
        """Several lines of text."""
        for number, line in enumerate(words.splitlines()):
            self.text(x, y + number * leading, line, kind)

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box") -> None:
        """A box with round corners."""
        self._parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"{_kind(kind)}/>')

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A bar of a chart."""
        self._parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{_kind(kind)}/>')

    def path(self, points: list[tuple[float, float]], kind: str = "", *, tip: bool = False) -> None:
        """A line through points, perhaps with an arrow's tip."""
        way = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        end = ' marker-end="url(#tip)"' if tip else ""
        self._parts.append(f'<path d="{way}"{_kind(kind)}{end}/>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float, kind: str = "") -> None:
        """A straight arrow."""
        self.path([(x1, y1), (x2, y2)], kind, tip=True)

    def svg(self) -> str:
        """The picture."""
        return "\n".join([*self._parts, "</svg>", ""])


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
