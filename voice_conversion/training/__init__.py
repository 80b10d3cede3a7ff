"""Training of the voice's models."""
