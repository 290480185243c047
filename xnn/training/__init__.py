"""Training: batches, frozen layers, recipe, fit, several devices."""
