"""The data card of an entry, as Markdown and for a terminal."""

from medshard.registry.cards.cards import card, card_for_terminal, examined_note, patients_rest_on

__all__ = ["card", "card_for_terminal", "examined_note", "patients_rest_on"]
