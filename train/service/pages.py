"""The reader page, its files and its example; the API's document as a page that needs no script."""

from __future__ import annotations

import hashlib
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

_WEB = Path(__file__).parents[1] / "web"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in ("reader.js", "takeaway.js", "words.js")},
}
#: Beside the page in a wheel; in the repository it is the seed article itself.
_EXAMPLES = (_WEB / "example.txt", Path(__file__).parents[2] / "seeds" / "000_67de78d66b7b359b.txt")


def install(app: FastAPI) -> None:
    """Add the page, its files, the example article and /docs."""
    for address, (name, media_type) in _FILES.items():
        _add_file(app, address, (_WEB / name).read_bytes(), media_type)
    example = next((path for path in _EXAMPLES if path.is_file()), None)
    if example:
        _add_file(app, "/example.txt", example.read_bytes(), "text/plain; charset=utf-8")

    def docs(request: Request) -> Response:
        return Response(docs_page(app.openapi()), media_type="text/html; charset=utf-8")

    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)


def _add_file(app: FastAPI, address: str, content: bytes, media_type: str) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}  # kept, but asked for again: never a page of another version

    def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    app.add_api_route(address, answer, methods=["GET"], include_in_schema=False)


def docs_page(document: dict[str, Any]) -> str:
    """Return the OpenAPI document as plain HTML; the usual viewers load their scripts from elsewhere."""
    schemas = document["components"]["schemas"]
    operations = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    types = [
        f'<section id="{escape(name)}"><h3>{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
        f"<pre>{_linked(schema)}</pre></section>"
        for name, schema in schemas.items()
    ]
    info = document["info"]
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} · API</title><link rel="icon" href="icon.svg">
<link rel="stylesheet" href="style.css"></head>
<body class="docs"><main>
<h1>{escape(info["title"])} {escape(info["version"])}</h1>
<p>{escape(info["description"])} The same as JSON: <a href="openapi.json">/openapi.json</a>.
The page for people: <a href=".">/</a>.</p>
<h2>Addresses</h2>
{"".join(operations)}
<h2>Types</h2>
{"".join(types)}
</main></body></html>
"""


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<li><code>{escape(status)}</code> {escape(answer['description'])} {_types(answer.get('content'))}</li>"
        for status, answer in operation["responses"].items()
    )
    content = operation.get("requestBody", {}).get("content", {})
    body = f"<p>Body: {_types(content)}</p>" if content else ""
    examples = "".join(
        f"<pre>curl -H 'Content-Type: application/json' http://127.0.0.1:8000{escape(path)} \\\n"
        f"     -d '{escape(json.dumps(example['value'], ensure_ascii=False))}'</pre>"
        for one in content.values()
        for example in one.get("examples", {}).values()
    )
    return (
        f"<section><h3><code>{method.upper()} {escape(path)}</code></h3>"
        f"<p>{escape(operation.get('description', ''))}</p>{body}{examples}<ul>{answers}</ul></section>"
    )


def _types(value: Any) -> str:
    """Return links to the types that a part of the document speaks of."""
    names = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(value))
    return " or ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in dict.fromkeys(names))


def _linked(value: Any) -> str:
    """Return a part of the document as JSON, each reference a link to its type."""
    lines = []
    for line in json.dumps(value, ensure_ascii=False, indent=1).splitlines():
        before, mark, name = line.partition('"#/components/schemas/')
        name, quote, after = name.partition('"')
        link = f'<a href="#{escape(name)}">{escape(name)}</a>' if mark and quote else ""
        lines.append(escape(before) + link + escape(after) if link else escape(line))
    return "\n".join(lines)
