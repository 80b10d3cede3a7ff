"""Face motion by diffusion. b clips, n frames at 25 per second, f = 58: ARKit-52, head rotation and translation."""
