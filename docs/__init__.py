"""The pages, and the generator of their tables."""
