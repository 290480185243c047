"""Helpers of the notebooks; each module holds one noun."""
