"""Measures of conversions, with and without a judge."""
