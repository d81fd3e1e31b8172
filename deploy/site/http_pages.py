"""The HTTP API as pages, from the OpenAPI document that a gateway serves and from its table of errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_ABOUT_THE_API: Final = """\
A running gateway serves the same as an OpenAPI document at `/openapi.json`, with a page to try it at `/docs`.
[Endpoints](../endpoints.md) tells what becomes of a request. [Errors](errors.md) lists what may come instead of an
answer. The fields named here are required, or are ours. Other fields of OpenAI's and Anthropic's APIs may be there too.
"""

_ABOUT_ERRORS: Final = """\
The body of an error is `{"error": {"message", "type", "param", "code"}}`, as OpenAI's clients read it. `param` names
the field that is wrong. Where a rule of the router is the reason, its name is in `reason` and in the header
`x-pointsman-reason`. On `/v1/messages` an error has Anthropic's shape, with our `param` and `code` beside.
"""


def http_page(document: Mapping[str, Any], written: str) -> str:
    """One section per path and method, grouped as the document tags them."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            section = _operation(f"{method.upper()} {path}", operation, document)
            groups.setdefault(operation["tags"][0], []).extend(section)
    lines = ["# The HTTP API", "", written, "", *_ABOUT_THE_API.splitlines(), ""]
    for name in sorted(groups):
        lines += [f"## {name.capitalize()}", "", *groups[name]]
    return "\n".join(lines).rstrip() + "\n"


def _operation(title: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### `{title}`", "", f"{operation['summary'].rstrip('.')}.", "")
    if "description" in operation:
        yield from (operation["description"], "")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    rows = [
        (parameter["name"], f"{parameter['in']}, {_kind(parameter['schema'])}", parameter["required"], "")
        for parameter in operation.get("parameters", ())
    ]
    if body is not None:
        schema = _resolved(body, document)
        needed = schema.get("required", ())
        rows += [
            (name, _kind(field), name in needed, field.get("description", ""))
            for name, field in schema.get("properties", {}).items()
        ]
    if rows:
        yield from ("| field | value | required | meaning |", "|---|---|---|---|")
        for name, kind, required, meaning in rows:
            yield f"| `{name}` | {kind} | {'yes' if required else ''} | {' '.join(meaning.split())} |"
        yield ""
    kinds = operation["responses"].get("200", {}).get("content", {})
    if kinds:
        yield from (f"Answers with {' or '.join(f'`{kind}`' for kind in kinds)}.", "")


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = {"string": "text", "array": "list", "object": "mapping"}.get(
        schema.get("type", ""), schema.get("type", "any")
    )
    bounds = [f"{sign} {schema[key]:g}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    if "maxLength" in schema:
        bounds.append(f"at most {schema['maxLength']} characters")
    return " ".join([kind, ", ".join(bounds)]).rstrip()


def error_page(table: Mapping[str, tuple[int, str]], written: str) -> str:
    """Every error that a client can see.

    Args:
        table: Code -> its HTTP status and OpenAI's error type.
        written: The line that says who writes the page.
    """
    lines = [
        "# Every error",
        "",
        written,
        "",
        *_ABOUT_ERRORS.splitlines(),
        "",
        "| code | status | type |",
        "|---|---|---|",
    ]
    for code, (status, kind) in sorted(table.items(), key=lambda row: (row[1][0], row[0])):
        lines.append(f"| `{code}` | {status} | `{kind}` |")
    return "\n".join(lines) + "\n"
