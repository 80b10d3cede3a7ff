"""DICE-Talk's Stable-Video-Diffusion pipeline. b videos, f frames, c context width, h and w latent rows and columns."""
