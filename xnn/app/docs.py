"""A page that says what the API takes and gives, made of its own schema; it loads nothing from anywhere."""

from html import escape

STYLE = """body {font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem}
pre {background: #f3f3f3; padding: 0.8rem; overflow: auto} table {border-collapse: collapse}
td, th {text-align: left; vertical-align: top; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #ddd}
@media (prefers-color-scheme: dark) {body {background: #111; color: #eee} pre {background: #222}}"""
EXAMPLES = """curl -F file=@radiograph.jpeg http://127.0.0.1:8000/predict
curl -F file=@radiograph.jpeg -H 'Accept: image/png' -o overlay.png 'http://127.0.0.1:8000/predict?clamped=true'
curl -H 'Content-Type: image/png' --data-binary @radiograph.png 'http://127.0.0.1:8000/predict?explain=false'"""


def page(schema: dict) -> str:
    """HTML of an OpenAPI schema."""
    parts = [
        _operation(path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    info = schema["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{STYLE}</style><h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        f"<pre>{escape(EXAMPLES)}</pre>{''.join(parts)}"
        '<p>The whole schema: <a href="/openapi.json">/openapi.json</a>.</p></html>'
    )


def _operation(path, method, operation):
    rows = "".join(
        f"<tr><th>{escape(each['name'])}</th><td>{escape(_kind(each['schema']))}</td>"
        f"<td>{escape(each.get('description', ''))}</td></tr>"
        for each in operation.get("parameters", [])
    )
    answers = "".join(
        f"<tr><th>{escape(status)}</th><td>{escape(', '.join(answer.get('content', {})))}</td>"
        f"<td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    tables = "".join(f"<table>{each}</table>" for each in (rows, answers) if each)
    words = escape(operation.get("description", ""))
    return f"<h2>{method.upper()} {escape(path)}</h2><p>{words}</p>{tables}"


def _kind(schema):
    """A parameter's type or choices, in words."""
    schema = next((each for each in schema.get("anyOf", []) if each.get("type") != "null"), schema)
    words = ", ".join(schema["enum"]) if "enum" in schema else schema.get("type", "")
    limits = [schema[name] for name in ("minimum", "maximum") if name in schema]
    return f"{words} {' to '.join(map(str, limits))}".strip()
