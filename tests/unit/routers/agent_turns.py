"""Turns as coding agents send them, written by hand after their formats: a question inside of what a program added."""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: Questions that agents are asked, and others that people type into them all the same.
QUESTIONS: tuple[str, ...] = (
    "What is the capital of France?",
    "Write a Python function that reverses a linked list.",
    "what is 17% of 240",
    "A train travels 60 miles in 1.5 hours. What is its speed?",
    "Does aspirin reduce the risk of stroke in elderly patients?",
    "what are the side effects of lisinopril",
    "write a sonnet about the sea",
    "Tell me a joke about cats.",
    "how do I read a CSV file with pandas?",
    "Write a monologue for a king who has lost his throne.",
    "how do I get a visa for Japan?",
    "the perimeter of a rectangle is 36 and its length is twice its width; what is the width",
)

_PROJECT = "\n".join(
    f"- {rule}"
    for rule in (
        "Run `make check` before you commit; it runs ruff, mypy and the unit tests.",
        "Use type hints everywhere. Do not add a dependency without asking.",
        "Tests live in tests/unit and tests/e2e; run them with pytest -q.",
        "Keep functions short and name what they return.",
        "The API server is in src/server.py, the database models in src/models.",
        "Never edit files in migrations/ by hand.",
    )
)
_LOG = "\n".join(
    f"2025-03-{1 + index % 28:02d}T10:{index % 60:02d}:13.412Z {('INFO', 'WARN', 'ERROR')[index % 3]} "
    f"[worker-{index % 7}] app.pipeline.stage{index % 5}: processed batch {index} in "
    f"{index * 7 % 900} ms, retry={index % 2}"
    for index in range(3_000)
)
_TRACE = "\n".join(
    [
        "Traceback (most recent call last):",
        *(
            f'  File "/srv/app/module_{index}.py", line {index * 3 + 7}, in handle\n'
            f"    return self.next(request, depth={index})"
            for index in range(40)
        ),
        "ConnectionResetError: [Errno 104] Connection reset by peer",
    ]
)
_SOURCE = "\n".join(
    f"def step_{index}(state: dict[str, int], value: int) -> dict[str, int]:\n"
    f'    """Advance the state by step {index}."""\n'
    f"    state['s{index}'] = value * {index} + len(state)\n"
    "    return state\n"
    for index in range(60)
)
_NUMBERED = "\n".join(f"{number:6d}\t{line}" for number, line in enumerate(_SOURCE.split("\n"), 1))
_TOOLS = "\n".join(
    f'{{"name": "{name}", "description": "{text}", "input_schema": {{"type": "object", "properties": {{"path": '
    '{"type": "string", "description": "The absolute path"}}, "required": ["path"]}}'
    for name, text in (
        ("Read", "Reads a file from the local filesystem."),
        ("Write", "Writes a file to the local filesystem."),
        ("Bash", "Executes a given bash command in a persistent shell session."),
        ("Grep", "A search tool built on ripgrep."),
    )
    for _ in range(6)
)
_LISTING = "\n".join(f"src/components/widget{index}/index.tsx" for index in range(80))

_ENVIRONMENT = f"""<environment_details>
# VSCode Visible Files
src/server.py

# VSCode Open Tabs
src/server.py
tests/test_server.py

# Current Time
3/14/2025, 10:02:11 AM (Europe/Berlin, UTC+1:00)

# Current Working Directory (/srv/shop) Files
{_LISTING}

# Context Window Usage
12,345 / 200K tokens used (6%)

# Current Mode
ACT MODE
</environment_details>"""

_AIDER_RULES = """# *SEARCH/REPLACE block* Rules:

Every *SEARCH/REPLACE block* must use this format:
1. The *FULL* file path alone on a line, verbatim.
2. The opening fence and code language, eg: ```python
3. The start of search block: <<<<<<< SEARCH
4. A contiguous chunk of lines to search for in the existing source code
5. The dividing line: =======
6. The lines to replace into the source code
7. The end of the replace block: >>>>>>> REPLACE
8. The closing fence: ```

ONLY EVER RETURN CODE IN A *SEARCH/REPLACE BLOCK*!
"""

#: Whose format -> the turn with a question in it.
SHAPES: Mapping[str, Callable[[str], str]] = {
    "Claude Code, reminder first": lambda asked: (
        "<system-reminder>\nAs you answer the user's questions, you can use the following context:\n# claudeMd\n"
        "Codebase and user instructions are shown below. Be sure to adhere to these instructions.\n\n"
        f"Contents of /srv/shop/CLAUDE.md (project instructions):\n\n# Shop\n{_PROJECT}\n\n"
        "IMPORTANT: this context may or may not be relevant to your tasks.\n</system-reminder>\n" + asked
    ),
    "Claude Code, reminders on both sides": lambda asked: (
        "<system-reminder>\nThe TodoWrite tool hasn't been used recently. If you're working on tasks that would "
        "benefit from tracking progress, consider using it.\n</system-reminder>\n"
        + asked
        + f"\n<system-reminder>\nNote: /srv/shop/src/server.py was modified. Here are the changes:\n{_NUMBERED}\n"
        "</system-reminder>"
    ),
    "Claude Code, a slash command": lambda asked: (
        "<command-message>ask is running…</command-message>\n<command-name>/ask</command-name>\n"
        f"<command-args>{asked}</command-args>"
    ),
    "Claude Code, output of a command first": lambda asked: (
        f"<bash-input>pytest -q</bash-input>\n<bash-stdout>{_TRACE}</bash-stdout><bash-stderr></bash-stderr>\n{asked}"
    ),
    "Claude Code, an open file": lambda asked: (
        "<ide_opened_file>The user opened the file /srv/shop/src/server.py in the IDE. This may or may not be "
        f"related to the current task.</ide_opened_file>\n{asked}"
    ),
    "Codex, environment": lambda asked: (
        "<environment_context>\n  <cwd>/srv/shop</cwd>\n  <approval_policy>on-request</approval_policy>\n"
        "  <sandbox_mode>workspace-write</sandbox_mode>\n  <network_access>restricted</network_access>\n"
        f"  <shell>bash</shell>\n</environment_context>\n\n{asked}"
    ),
    "Codex, instructions": lambda asked: (
        f"# AGENTS.md instructions for /srv/shop\n\n<INSTRUCTIONS>\n# Shop\n{_PROJECT}\n</INSTRUCTIONS>\n\n{asked}"
    ),
    "Codex, an editor": lambda asked: (
        "# Context from my IDE setup:\n\n## Active file: src/server.py\n\n## Open tabs:\n- server.py: src/server.py\n"
        f"- models.py: src/models.py\n\n## My request for Codex:\n{asked}\n"
    ),
    "Cline": lambda asked: f"<task>\n{asked}\n</task>\n\n{_ENVIRONMENT}",
    "Cline, feedback": lambda asked: (
        "[attempt_completion] Result:\n\nThe user has provided feedback on the results. Consider their input to "
        f"continue the task.\n<feedback>\n{asked}\n</feedback>\n\n{_ENVIRONMENT}"
    ),
    "Roo": lambda asked: f"<user_message>\n{asked}\n</user_message>\n\n{_ENVIRONMENT}",
    "Cursor": lambda asked: (
        "<additional_data>\nBelow are some potentially helpful pieces of information.\n\n<attached_files>\n"
        f"```python\n{_SOURCE}\n```\n</attached_files>\n</additional_data>\n\n<user_query>\n{asked}\n</user_query>"
    ),
    "Copilot": lambda asked: (
        f"<environment_info>\nThe user's current OS is: Linux\n</environment_info>\n<workspace_info>\n{_LISTING}\n"
        f"</workspace_info>\n<context>\nThe current date is March 14, 2025.\n</context>\n<userRequest>\n{asked}\n"
        "</userRequest>"
    ),
    "aider": lambda asked: f"{asked}\n\n{_AIDER_RULES}",
    "a log behind": lambda asked: f"{asked}\n\n{_LOG}",
    "a log before": lambda asked: f"{_LOG}\n\n{asked}",
    "a stack trace before": lambda asked: f"{_TRACE}\n\n{asked}",
    "a file behind": lambda asked: f"{asked}\n\nsrc/steps.py\n```python\n{_SOURCE}\n```",
    "a numbered file before": lambda asked: f"Contents of src/steps.py:\n{_NUMBERED}\n\n{asked}",
    "tools before": lambda asked: f"You have access to the following tools:\n\n{_TOOLS}\n\n{asked}",
    "a listing behind": lambda asked: f"{asked}\n{_LISTING}",
}

#: Turns of an agent in which the user says nothing.
NOTHING_ASKED: tuple[str, ...] = (
    f"[read_file for 'src/server.py'] Result:\n<file_content path=\"src/server.py\">\n{_NUMBERED}\n</file_content>\n\n{_ENVIRONMENT}",  # noqa: E501
    f"[execute_command for 'npm test'] Result:\nCommand executed.\nOutput:\n{_TRACE}\n\n{_ENVIRONMENT}",
    "<system-reminder>\nThis is a reminder that your todo list is currently empty.\n</system-reminder>",
    f"# AGENTS.md instructions for /srv/shop\n\n<INSTRUCTIONS>\n# Shop\n{_PROJECT}\n</INSTRUCTIONS>",
    "<environment_context>\n  <cwd>/srv/shop</cwd>\n  <shell>bash</shell>\n</environment_context>",
    f"I have *added these files to the chat* so you can go ahead and edit them.\n\nsrc/steps.py\n```\n{_SOURCE}\n```",
)
