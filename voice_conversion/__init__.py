"""Emotional voice conversion: the same words by the same speaker, in another emotion."""
