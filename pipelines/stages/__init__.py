"""The stages of one entry in plain Python: raw, cases, volumes, fingerprint, shards."""
