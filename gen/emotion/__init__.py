"""The emotion layer of all generators: value types, terms, directions, conditioners."""
