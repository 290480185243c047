"""Descriptions of the site for machines: Croissant, RO-Crate and llms.txt."""

import html
import mimetypes
import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import yaml

from ..config.provenance import file_sha256, write_json
from .steps import StepError

DESCRIBED = (".html", ".ipynb", ".csv", ".json")


def write(site: Path, root: Path) -> None:
    """Write ``croissant.json``, ``llms.txt`` and ``ro-crate-metadata.json`` into a rendered site."""
    known = yaml.safe_load((root / "_quarto.yml").read_text())["website"]
    (site / "llms.txt").write_text(llms(site, known))
    source = root / "metadata/croissant.yaml"
    if source.exists():
        write_json(croissant(yaml.safe_load(source.read_text()), root), site / "croissant.json")
    write_json(crate(site, known), site / "ro-crate-metadata.json")


def today() -> str:
    """Return the date of this build."""
    return datetime.now(UTC).date().isoformat()


def llms(site: Path, known: dict) -> str:
    """Return an index of the site's pages for language models (llmstxt.org)."""
    pages = [(file.relative_to(site).as_posix(), _title(file)) for file in sorted(site.rglob("*.html"))]
    lines = [f"- [{title}]({path})" for path, title in pages if title]
    return f"# {known['title']}\n\n> {known['description']}\n\n## Pages\n\n" + "\n".join(lines) + "\n"


def _title(file: Path) -> str:
    found = re.search(r"<title>(.*?)</title>", file.read_text(), re.DOTALL)
    return html.unescape(found[1]).strip() if found else ""


def croissant(about: dict, root: Path) -> dict:
    """Return the Croissant description of a table, from ``metadata/croissant.yaml`` and the table itself.

    Raises StepError if the table has other columns than those described.
    """
    file = root / about["file"]
    columns = list(pd.read_csv(file, nrows=0))
    if columns != list(about["columns"]):
        raise StepError(
            f"metadata/croissant.yaml describes other columns than {about['file']} has: {columns}"
        )
    table = {
        "@type": "cr:FileObject",
        "@id": "table",
        "name": file.name,
        "contentUrl": about["file"],
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": "text/csv",
        "sha256": file_sha256(file),
    }
    sets = [
        {
            "@type": "cr:RecordSet",
            "@id": name,
            "name": name,
            "field": [_field(name, each, *about["columns"][each]) for each in fields],
        }
        for name, fields in about["records"].items()
    ]
    made = {"datePublished": today(), "distribution": [table], "recordSet": sets}
    return {"@context": about["@context"], **about["dataset"], **made}


def _field(of: str, column: str, kind: str, description: str) -> dict:
    """One column of a record set."""
    return {
        "@type": "cr:Field",
        "@id": f"{of}/{column.replace(' ', '_')}",
        "name": column,
        "description": description,
        "dataType": f"sc:{kind}",
        "source": {"fileObject": {"@id": "table"}, "extract": {"column": column}},
    }


def crate(site: Path, known: dict) -> dict:
    """Return the RO-Crate of a site: its pages, notebooks and result files."""
    files = [file for file in sorted(site.rglob("*")) if file.suffix in DESCRIBED and file.is_file()]
    names = [file.relative_to(site).as_posix() for file in files if file.name != "ro-crate-metadata.json"]
    parts = [
        {
            "@id": name,
            "@type": "File",
            "name": name,
            "encodingFormat": mimetypes.guess_type(name)[0] or "application/x-ipynb+json",
        }
        for name in names
    ]
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    site_itself = {
        "@id": "./",
        "@type": "Dataset",
        "name": known["title"],
        "description": known["description"],
        "datePublished": today(),
        "license": {"@id": "https://spdx.org/licenses/MIT"},
        "hasPart": [{"@id": name} for name in names],
    }
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [descriptor, site_itself, *parts]}
