"""Makes music's checkpoints: corpora, losses, training."""
