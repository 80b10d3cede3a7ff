"""The space of 256 dimensions that voices, faces, music and words share."""
