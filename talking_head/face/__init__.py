"""Where a face is in a picture, what it does, and how its points move."""
