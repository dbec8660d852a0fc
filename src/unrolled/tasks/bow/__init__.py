"""The bag of words: which words and pieces of words a text has, and how often, no matter where."""
