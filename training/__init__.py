"""Recipes and what they make of shards: pretraining, fine-tuning, evaluation, each with its paper trail.

Importing this room costs nothing; `recipe`, `manifest` and the three stages import no torch until they have to train.
"""
