"""A scripted expert for tests, demonstrations and measurements: given delays, given failures, exact OpenAI formats.

In process it is a backend (`FakeExpert`); `python -m pointsman.experts.backends.fake --port 9000` serves the same over
HTTP. It counts its calls and how they ended. Its answers have no useful content.
"""

from pointsman.experts.backends.fake.expert import FakeExpert
from pointsman.experts.backends.fake.script import Fault, Report, Script

__all__ = ["FakeExpert", "Fault", "Report", "Script"]
