"""Cheap measures of one case by which a strange one can be told from the others of its entry; no judgement here."""

from medshard.converters.suspicion.facts import Facts, frame_facts, suspicion_facts

__all__ = ["Facts", "frame_facts", "suspicion_facts"]
