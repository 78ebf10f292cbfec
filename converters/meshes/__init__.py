"""Surfaces: numbers on them, what they are like, the frame that they lie in, and masks made of them."""
