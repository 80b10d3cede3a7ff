"""Face motion by diffusion. b clips, n frames at 25 per second, f = 55: ARKit-52 from rest, head rotation."""
