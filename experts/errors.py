"""What can go wrong while calling an expert.

ExpertError                      anything below; carries the expert's name
├── ExpertUnavailable            nothing was sent or nothing came back: another expert may be tried
│   ├── ExpertTimeout            the head or the next byte did not come in time
│   └── ExpertSaturated          the expert refuses for load; may carry `retry_after_s`
├── ExpertProtocolError          it answered something that is not HTTP, not OpenAI's shape, or not complete
├── ExpertStreamBroken           the stream died after the first byte: no other expert may be tried
└── ExpertMisconfigured          the operator's fault: a missing extra, key, file or model; another may be tried
"""

from __future__ import annotations


class ExpertError(Exception):
    """Calling an expert failed.

    Args:
        expert: Name of the expert.
        message: What happened, safe to show to an operator (no keys, no bodies).
        sent: Whether the request may have reached the expert, which may then have worked on it; None for what is usual
            of such an error.
    """

    #: Whether another expert may be tried for the same request, as long as no byte went to the client.
    transient = False
    #: Whether the request may have reached the expert. What is not known to have stayed here may have.
    sent = True
    #: Whether it went out a second time, the connection of the first one having been closed without an answer.
    sent_twice = False

    def __init__(self, expert: str, message: str, *, sent: bool | None = None) -> None:
        super().__init__(f"{expert}: {message}")
        self.expert = expert
        self.message = message
        if sent is not None:
            self.sent = sent


class ExpertUnavailable(ExpertError):
    """The expert could not be reached."""

    transient = True


class ExpertTimeout(ExpertUnavailable):
    """The expert did not answer in time."""


class ExpertSaturated(ExpertUnavailable):
    """The expert refused for load."""

    sent = False

    def __init__(self, expert: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(expert, message)
        self.retry_after_s = retry_after_s


class ExpertProtocolError(ExpertError):
    """The expert's answer could not be read."""

    transient = True


class ExpertStreamBroken(ExpertError):
    """The stream ended before its end."""


class ExpertMisconfigured(ExpertError):
    """The expert cannot work as configured."""

    transient = True
    sent = False
