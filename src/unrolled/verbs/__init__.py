"""Verbs: one function each, the composition of the rooms, shared by Python, the page and the command line."""
