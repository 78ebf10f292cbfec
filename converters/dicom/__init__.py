"""DICOM: series of files -> stacks of frames with geometry, numbers and meaning."""
