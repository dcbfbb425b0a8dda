"""Shared parts: one kind of error for users, files that are never half written, the command line."""
