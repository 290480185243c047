"""The report: steps and their freshness, execution, site, tracking, sweeps."""
