"""A photograph moved by coefficients and head pose."""
