"""Code shared by all generators. Shape legend: b batch, n sequence, d width, h heads, k classes, t time.

Independent of faces, voices and notes; domain packages are found only through :mod:`gen.registry`.
"""

__version__ = "0.2.0"
