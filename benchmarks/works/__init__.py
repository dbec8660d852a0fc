"""The works, one file a family; each has a function `works` that lists its own."""
