"""Radiographs: phantoms, archives, images, records, splits and their leakage."""
