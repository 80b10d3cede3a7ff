"""A scene: one emotion through a voice, a face and a piano, in one film."""
