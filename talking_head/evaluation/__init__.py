"""How talking faces are measured: ``affekt evaluate talk`` and ``affekt evaluate dice``."""
