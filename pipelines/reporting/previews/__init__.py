"""Previews: what a person is shown of a case, family by family, drawn as one picture or one HTML page."""
