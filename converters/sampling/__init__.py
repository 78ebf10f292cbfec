"""How one case becomes a sample under a plan; `medshard.converters.samples` is the door."""
