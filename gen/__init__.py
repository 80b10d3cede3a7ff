"""What every generator shares. Shape legend: b batch, n sequence, d width, h heads, k classes, t time.

Knows nothing of faces, voices or notes; domain packages are found through :mod:`gen.registry` alone.
"""

__version__ = "0.2.0"
