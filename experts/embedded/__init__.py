"""The embedded runtime: a small engine that generates with Qwen3-type checkpoints in numpy, in a process of its own.

`python -m pointsman.experts.embedded --socket PATH` serves every checkpoint below a folder over a unix socket; the
backend
(`pointsman.experts.backends.embedded`) speaks to it and starts it where nobody does. Nothing here needs torch.
"""

from __future__ import annotations
