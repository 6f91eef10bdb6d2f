"""The page at /docs: the OpenAPI document as plain HTML, made here, with no script and nothing from elsewhere."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { overflow: auto; padding: .7rem; border: 1px solid #8884; border-radius: 6px }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #8883 }
details { border: 1px solid #8884; border-radius: 6px; margin: .6rem 0; padding: .4rem .8rem }
summary { cursor: pointer } summary b { display: inline-block; min-width: 3.5rem }
"""
_HASH: Final = base64.b64encode(sha256(_STYLE.encode()).digest()).decode("ascii")

CONTENT_SECURITY_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'"
"""The page's own style, and nothing else."""


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    operations = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    paragraphs = "".join(f"<p>{_text(text)}</p>" for text in document["info"]["description"].split("\n\n"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>QENEX API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f'<h1>QENEX API</h1>{paragraphs}<p><a href="/api/v1/openapi.json">OpenAPI document</a></p>'
        f"<h2>Routes</h2>{''.join(operations)}<h2>Shapes</h2>{''.join(schemas)}</body></html>"
    )


def _text(text: str) -> str:
    """Text with `code` marked."""
    parts = escape(text.strip()).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(given['name'])}</code><td>{escape(given['in'])}"
        f"<td>{_type(given['schema'])}<td>{_text(given.get('description', ''))}</tr>"
        for given in operation.get("parameters", ())
    )
    table = f"<table><tr><th>Parameter<th>In<th>Type<th>Meaning</tr>{parameters}</table>" if parameters else ""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    answers = "".join(
        f"<li><b>{escape(status)}</b> {_content(answer)}</li>" for status, answer in operation["responses"].items()
    )
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><b>{method.upper()}</b> <code>{escape(path)}</code>'
        f" {_text(operation.get('description', ''))}</summary>{table}"
        f"{f'<p>Body: {_type(body)}</p>' if body else ''}<ul>{answers}</ul></details>"
    )


def _content(answer: dict[str, Any]) -> str:
    return ", ".join(
        f"{_type(content.get('schema', {}))} <small>{escape(kind)}</small>"
        for kind, content in answer.get("content", {}).items()
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code><td>{_type(inner)}{'' if field in needed else ', optional'}"
        f"<td>{_text(inner.get('description', ''))}</tr>"
        for field, inner in schema.get("properties", {}).items()
    )
    return (
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code> {_text(schema.get("description", ""))}'
        f"</summary><table><tr><th>Field<th>Type<th>Meaning</tr>{rows}</table></details>"
    )


def _type(schema: dict[str, Any]) -> str:
    """A schema's type in a few words, linked where it has a name."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    return escape(str(schema.get("type", "any")))
