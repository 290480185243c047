"""The pages on methods: notebooks of methods/ that belong to no study, executed into reports/methods/.

``python -m xnn.appendix.pages resnet`` is what Make calls for one page.
"""

import sys
from pathlib import Path

from .. import pipeline, provenance
from ..params import ROOT

FOLDER = ROOT / "reports/methods"  # of the executed pages
FIGURES = ("plots/look", "plots/appendix")


def _own(*modules: str) -> tuple[str, ...]:
    return tuple(f"appendix/{module}" for module in modules)


PAGES = {  # the modules that decide what a page shows
    "integrated-gradients": (
        *("phantom", "models", "attribution", "integrated", "fixed", "localisation", "axioms"),
        *(*_own("quadrature", "properties", "toys"), *FIGURES, "plots/explanation"),
    ),
    "resnet": ("phantom", *_own("toys", "anatomy"), *FIGURES),
    "mobilenetv2": (*_own("anatomy", "bottleneck"), *FIGURES),
    "convnextv2": ("phantom", *_own("anatomy", "modernise", "responses", "masking", "toys"), *FIGURES),
    "optimiser": (*_own("decay"), *FIGURES),
}


def make(page: str, force: bool = False) -> Path:
    """Execute a page unless its result is current; return the executed notebook.

    Raises StepError with one clear line.
    """
    from filelock import FileLock

    if page not in PAGES:
        raise pipeline.StepError(f"no page {page!r}; there is: {', '.join(PAGES)}")
    target = FOLDER / f"{page}.ipynb"
    lock = ROOT / "artifacts/methods" / f".{page}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # two makes at once: the second one waits
        made_from = {"step": page, "inputs": inputs(page)}
        if not force and pipeline.metadata(target).get("xnn") == made_from:
            target.touch()
            print(f"{target.relative_to(ROOT)} is current", flush=True)
        else:
            print(f"{target.relative_to(ROOT)} ...", flush=True)
            pipeline.execute(ROOT / "methods" / f"{page}.py", target, {}, made_from)
    return target


def inputs(page: str) -> dict[str, str]:
    """Name and hash of all that decides what a page shows: its text and the code it calls."""
    modules = {f"xnn/{module}.py": provenance.PACKAGE / f"{module}.py" for module in PAGES[page]}
    files = {f"methods/{page}.py": ROOT / "methods" / f"{page}.py", **modules}
    return {name: provenance.content_sha256(file) for name, file in files.items()}


def main(arguments: list[str]) -> None:
    """The name of a page."""
    with pipeline.one_line():
        if len(arguments) != 1:
            sys.exit(f"usage: python -m xnn.appendix.pages PAGE; PAGE is one of {', '.join(PAGES)}")
        make(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
