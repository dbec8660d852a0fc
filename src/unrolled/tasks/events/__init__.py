"""Sequences of event identifiers (purchases, pages): what comes next, after all that came before in a session."""
