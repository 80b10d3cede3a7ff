"""How the voice's models are made from recordings."""
