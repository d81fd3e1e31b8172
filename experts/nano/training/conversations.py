"""Conversations made from the documents, so that the models learn what a user turn and an answer look like.

Nothing is invented: questions, answers, functions, docstrings, speakers and lines are those of the documents.
"""

from __future__ import annotations

import ast
import random
import re
import textwrap
from collections.abc import Iterator

from pointsman.experts.nano.training.corpora import CorpusDocument

Conversation = tuple[str, str]
_CALCULATION = re.compile(r"<<([^=<>]+)=([^<>]+)>>")
_MAX_ANSWER_CHARS = 1400


def conversations_of(document: CorpusDocument, seed: int = 0) -> list[Conversation]:
    """(user turn, assistant turn) pairs of one document, the same for the same seed."""
    rng = random.Random(f"{seed}:{document.identity}:{len(document.text)}")
    makers = {"code": _code, "math": _math, "clinical": _clinical, "prose": _prose}
    return list(makers[document.domain](document.text, rng))


def _code(text: str, rng: random.Random) -> Iterator[Conversation]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    lines = text.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("__"):
            continue
        source = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
        if not 60 <= len(source) <= _MAX_ANSWER_CHARS:
            continue
        summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ").strip()
        kind = "class" if isinstance(node, ast.ClassDef) else "function"
        answer = f"```python\n{source}\n```"
        if summary and rng.random() < 0.9:
            wish = summary[0].lower() + summary[1:]
            yield rng.choice(
                (
                    (f"Write a Python {kind} `{node.name}`: {wish}", answer),
                    (f"Write a Python {kind}. {summary}", answer),
                    (f"Implement {node.name} in Python. {summary}", answer),
                    (f"How do I write a Python {kind} to {wish}", answer),
                    (f"Write a {kind} called {node.name} in Python.", answer),
                    (f"What does this {kind} do?\n\n{answer}", summary),
                )
            )
        elif rng.random() < 0.35:
            head, _, rest = source.partition("\n")
            yield rng.choice(
                (
                    (head, f"```python\n{source}\n```"),
                    (f"Complete this {kind}:\n\n{head}", answer),
                    (f"Write a Python {kind} {node.name}.", answer),
                    (head, rest or source),
                )
            )


def _math(text: str, rng: random.Random) -> Iterator[Conversation]:
    question, _, answer = text.removeprefix("Question: ").partition("\nAnswer: ")
    calculations = _CALCULATION.findall(answer)
    plain = _CALCULATION.sub("", answer)
    lead = rng.choice(("", "", "", "", "Solve this step by step. ", "Solve: ", "Question: "))
    yield lead + question, plain
    if calculations and rng.random() < 0.5:
        expression, result = rng.choice(calculations)
        ask = rng.choice(("What is {}?", "Calculate {}.", "Compute {}", "How much is {}?", "{} ="))
        spaced = re.sub(r"\s*([-+*/])\s*", r" \1 ", expression).strip() if rng.random() < 0.5 else expression
        yield ask.format(spaced), f"{spaced} = {result}\n#### {result}"


def _clinical(text: str, rng: random.Random) -> Iterator[Conversation]:
    body, _, conclusion = text.partition("\nConclusion: ")
    question, _, context = body.removeprefix("Question: ").partition("\n")
    if not conclusion:
        return
    yield question, conclusion
    share = rng.uniform(0.3, 1.0)
    yield f"{context[: int(min(len(context), 1500) * share)]}\n\n{question}", conclusion
    sentences = re.split(r"(?<=[.?!])\s+", context)
    if len(sentences) > 3:
        cut = rng.randrange(1, min(4, len(sentences) - 1))
        yield " ".join(sentences[:cut]), " ".join(sentences[cut : cut + 4])


def _prose(text: str, rng: random.Random) -> Iterator[Conversation]:
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    index = 0
    while index < len(paragraphs) - 1:
        given, answer = paragraphs[index], paragraphs[index + 1]
        index += 1
        while index + 1 < len(paragraphs) and len(answer) + len(paragraphs[index + 1]) < 600 and rng.random() < 0.8:
            index += 1
            answer += "\n\n" + paragraphs[index]
        index += 1
        if len(given) > 500:
            sentences = re.split(r"(?<=[.?!;])\s+", given)
            cut = max(1, len(sentences) // 3)
            given, answer = " ".join(sentences[:cut]), " ".join(sentences[cut:])
        if not answer:
            continue
        speaker, colon, lines = given.partition(":\n")
        if colon and len(speaker) < 30 and rng.random() < 0.4:
            given = lines
        lead = rng.choice(("", "", "", "Continue: ", "Continue this text:\n\n", "Go on from here:\n\n"))
        yield lead + given, answer[:_MAX_ANSWER_CHARS]
