"""What a creator sees: the studio, in a browser."""
