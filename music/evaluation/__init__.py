"""Measures music: judge, measures, report."""
