"""Annotations that name what they hold: segmentations and outlines, and their way onto the grid of an image."""
