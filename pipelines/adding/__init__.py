"""A catalog entry drafted from a folder on disk: what its names and a few of its files show, and what they do not."""
