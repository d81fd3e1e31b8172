"""Every page, read from its top to its end by somebody who does what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, SHELL, Block, all_blocks, blocks
from tests.docs.environment import checkout
from tests.docs.stand_ins import StandIns
from tests.docs.walk import walk

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMANDS = (*SHELL, "python")
WITH_COMMANDS = [page for page in PAGES if any(block.kind in COMMANDS and not block.mark for block in blocks(page))]


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[StandIns]:
    with StandIns() as servers:
        yield servers


#: What pages must have printed in the end, beside having run.
PRINTS = {
    "README.md": [
        *(f"x-pointsman-expert: nano-{name}" for name in ("code", "math", "clinical", "prose", "general")),
        "Wrote out/my-router",
    ],
    "docs/access.md": ["pointsman_requests_total", '"name":"shop"'],
    "docs/budgets.md": ["found in hindsight"],
    "docs/clients.md": [
        "pieces=12",
        "'place': 'What is the weather in Rome?'",
        "422 budget_infeasible routing.max_cost_usd dec_",
        "answer to: And in Rust?",
        "answer to: What is 17 + 25?",
    ],
    "docs/evidence.md": ["x-pointsman-expert: nano-"],
    "docs/evaluation.md": ["category_predicted[default]"],
    "docs/onboarding.md": ["with-newcomer", "pointsman.feedback"],
    "docs/planning.md": ["Keep awake 2 of 3 experts"],
}


# Each page takes some seconds, and all of them more than a minute.
@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_every_command_of_the_page_runs_as_written(page: Path, tmp_path: Path, stand_ins: StandIns) -> None:
    checkout(tmp_path)
    said = walk(blocks(page), tmp_path, stand_ins.port)
    for expected in PRINTS.get(str(page.relative_to(ROOT)), ()):
        assert expected in said, f"{expected} is not in\n{said[-6000:]}"


_LEFT_OUT = [block for page in PAGES for block in blocks(page) if block.mark == "not run here"]


@pytest.mark.parametrize("block", _LEFT_OUT, ids=lambda block: block.place)
def test_what_is_not_run_says_why(block: Block) -> None:
    pytest.skip(f"{block.place} is not run here: {block.said}")


def test_a_command_stands_where_it_is_run() -> None:
    """Not in a block without a name for its language, nor in one that is only indented."""
    starts = r"(?:\$ )?(?:\.venv/bin/\S+|make|pointsman|pip|curl|python|docker|helm) [a-z-]"
    astray = [
        block.place
        for block in all_blocks()
        if block.kind not in COMMANDS and re.search(rf"^{starts}", block.text, re.MULTILINE)
    ]
    indented = [
        f"{page.relative_to(ROOT)}: {line.strip()}"
        for page in PAGES
        for line in re.findall(rf"^    {starts}.*$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    ]
    assert astray + indented == []


def test_there_is_one_way_to_call_the_command() -> None:
    bare = [
        f"{block.place}: {line}"
        for block in all_blocks()
        if block.kind in SHELL
        for line in block.text.splitlines()
        if re.search(r"(?<![\w/.-])(?<!-m )(?:pointsman|pip|python) (?!-c )[a-z-]", line)
        and not line.startswith(("docker", "helm"))
    ]
    assert bare == []


def test_every_page_that_promises_results_is_walked() -> None:
    assert set(PRINTS) <= {str(page.relative_to(ROOT)) for page in WITH_COMMANDS}
