"""Emotional piano: MusER (AAAI 2024) trained on real performances."""
