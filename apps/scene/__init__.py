"""Scenes: converted voice, talking face and piano with one emotion, in one film."""
