"""Attributions: Integrated Gradients and other methods, the cases shown, and their measures."""
