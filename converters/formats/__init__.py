"""One module per file format, each exporting a `FORMAT`; medshard.converters.reading finds the right one by content."""
