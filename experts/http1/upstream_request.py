"""One request to a server, and where its response goes."""

from __future__ import annotations

from dataclasses import dataclass

from pointsman.experts.http1.failures import HttpFailure
from pointsman.experts.http1.response import Sink, Translate


@dataclass(slots=True, eq=False)
class UpstreamRequest:
    """One request to a server, and where its response goes.

    Attributes:
        message: Head and body in one piece.
        sink: Told of the response.
        head_timeout_s: How long to wait for the head of the response.
        idle_timeout_s: How long to wait between bytes of the body, while the reader keeps up.
        resent: It was sent before, on a connection that the peer had closed; it is not sent a third time.
        redirects: How often the server sent it elsewhere.
    """

    message: bytes
    sink: Sink
    head_timeout_s: float
    idle_timeout_s: float
    resent: bool = False
    redirects: int = 0

    def finish(self, failure: HttpFailure | None, translate: Translate) -> None:
        """Tell the sink the end, or what broke the response."""
        translated: Exception | None = None
        if failure is not None:
            translated = translate(failure)
            if translated is not failure:
                translated.__cause__ = failure
        self.sink.carrier = None
        if self.resent:
            self.sink.sent_twice = True
        self.sink.finish(translated)
