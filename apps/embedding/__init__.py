"""Training and evaluation of the shared embedding, on the corpora of all three arts. Inference is in gen.emotion."""
