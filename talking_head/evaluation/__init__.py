"""Evaluation of talking faces: ``affekt evaluate talk`` and ``affekt evaluate dice``."""
