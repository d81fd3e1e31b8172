"""A scripted expert: chosen delays, chosen failures, exact OpenAI shapes, and a count of what became of every call.

In process it is a backend (`FakeExpert`); `python -m pointsman.experts.backends.fake --port 9000` is the same over
HTTP.
It answers nothing anybody would want to know: it is for tests, demonstrations and measurements of everything around it.
"""

from pointsman.experts.backends.fake.expert import FakeExpert
from pointsman.experts.backends.fake.script import Fault, Script

__all__ = ["FakeExpert", "Fault", "Script"]
