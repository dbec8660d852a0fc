"""One to many: sequences generated given a category."""
