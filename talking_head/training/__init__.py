"""What the models of faces learn from, and how they are trained; nothing outside training and evaluation imports it."""
