"""Talking portraits: a photograph and a recording to a film of the face speaking with an emotion."""
