"""Studies, runs and sweeps as parameter files say them, and where a result comes from."""
