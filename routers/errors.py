"""What can go wrong around the decision. `decide` itself never raises for a well-typed request: it gives reasons.

RouterError                 anything below
├── ArtifactError           an artefact is absent, damaged, of another format, or not what its manifest says
├── EmbedderError           an embedder cannot be had: unknown name, missing extra, missing model
└── TrainingError           the data cannot train a router: no scored prompt, one category, shapes that disagree
"""

from __future__ import annotations


class RouterError(Exception):
    """Base of all errors of `routers`."""


class ArtifactError(RouterError):
    """A router artefact cannot be used. The sentence names the file and what is wrong with it."""


class EmbedderError(RouterError):
    """An embedder cannot be had."""


class TrainingError(RouterError):
    """The data cannot train a router."""
