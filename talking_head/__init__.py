"""From a photograph and a recording to a face that speaks and feels."""
