"""Pools of experts of `mmlu_pro` that the studies share."""

from __future__ import annotations

#: Six experts of about equal quality: there the prompt decides who is better, not the expert.
CLOSE_POOL = (
    "Meta-Llama-3.1-8B-Instruct",
    "Mixtral-8x7B-Instruct-v0.1",
    "Phi-3-mini-4k-instruct",
    "Qwen1.5-72B-Chat",
    "jamba-1.5-large",
    "mathstral-7B",
)

#: Nine instruction-tuned experts, from the cheapest to one that is best by far.
NINE_PRICED = (*CLOSE_POOL, "Meta-Llama-3.1-70B-Instruct", "c4ai-command-r-v01", "gemini-1.5-pro-002")
