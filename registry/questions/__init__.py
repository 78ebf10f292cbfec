"""Questions to the whole catalog: what it costs, what it meets, who labels what, where the paper errs."""
