"""Classifiers: backbones, pretrained weights, kept models and their predictions."""
