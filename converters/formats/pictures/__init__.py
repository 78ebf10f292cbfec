"""Decoders of pictures, one module for each file format, and what their samples mean."""
