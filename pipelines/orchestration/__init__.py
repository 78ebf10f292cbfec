"""What Dagster sees: assets, checks, metadata and the one resource, around stages that do not know of it."""
