"""Gates: what a person has to settle before the first byte. Terms, intended use, credentials, and files by hand."""
