"""How entries become shards and shards become checkpoints: stages in plain Python, and Dagster around them."""
