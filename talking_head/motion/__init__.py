"""From sound and an emotion to motion: ARKit-52 coefficients and head turns at 25 frames a second."""
