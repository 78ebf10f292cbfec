"""Source files -> volumes -> samples -> shards: formats, geometry, canonical Zarr, plans, resampling, packing."""
