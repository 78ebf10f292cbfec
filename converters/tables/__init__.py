"""Tables, omics and texts: what is rows, read as streams of record batches and written as Parquet."""
