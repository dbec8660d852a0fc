"""Many to one: a label for a sequence."""
