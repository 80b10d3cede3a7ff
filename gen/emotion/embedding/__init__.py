"""The 256-dimensional space shared by voices, faces, music and words."""
