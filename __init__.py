"""medshard: one catalog entry in, training-ready shards with a paper trail out.

The rooms, each importing only those to its right:
`pipelines -> training -> loaders -> converters -> registry`.
"""

__version__ = "0.1.0"
