"""The report: steps and their freshness, execution, site, tracking, sweeps."""

import sys

# nbformat imports jsonschema, which would build a grammar of IRIs (1.7 s) that no notebook needs
sys.modules.setdefault("rfc3987_syntax", None)
