"""Annotations that are rows of a table: classes, scores, boxes, landmarks, outlines, reports, questions, lists."""
