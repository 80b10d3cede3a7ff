"""Training of the face models and its data; imported only by training and evaluation."""
