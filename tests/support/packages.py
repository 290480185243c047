"""Installed packages and what they require."""

import importlib.metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def with_dependencies(names) -> set:
    """Return the canonical names of packages and of all that they require."""
    found, left = set(), list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name not in found:
            found.add(name)
            required = map(Requirement, importlib.metadata.requires(name) or ())
            left += [each.name for each in required if not each.marker or each.marker.evaluate({"extra": ""})]
    return found
