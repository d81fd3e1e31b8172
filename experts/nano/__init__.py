"""The nano experts: five tiny language models of our own, and the recipe that makes them.

Four dense Qwen3-type specialists (code, math, clinical, prose) and one Qwen3-MoE-type generalist, 5 to 7 million
parameters each, trained from scratch on two CPU cores. They are real models, and tiny ones: they show that routing
works on a machine that has nothing else, and they are not fit for any other use. `make nano` trains
them again; the weights live in `models/`.
"""

from __future__ import annotations

from pathlib import Path

MODELS_DIR = Path(__file__).parent / "models"
GENERALIST = "nano-general"
#: Model name of the specialist of each domain.
SPECIALISTS = {"code": "nano-code", "math": "nano-math", "clinical": "nano-clinical", "prose": "nano-prose"}
MODEL_NAMES = (*SPECIALISTS.values(), GENERALIST)
EOT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
