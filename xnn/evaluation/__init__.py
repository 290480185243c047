"""Scores with their intervals, curves, calibration, and runs side by side."""
