"""What can go wrong in the harness through the user's own doing.

EvalError              anything below; the message is a sentence for the person at the terminal
└── TableError         the outcome table, or the price list, cannot be read as what it claims to be
"""

from __future__ import annotations


class EvalError(Exception):
    """The evaluation cannot be done as asked; the message says why and what would help."""


class TableError(EvalError):
    """The outcome table or the price list is malformed, or leaves nothing to evaluate."""
