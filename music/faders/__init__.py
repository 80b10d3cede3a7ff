"""Music FaderNets (Tan and Herremans, ISMIR 2020): rhythm and note density of a piece on faders, and its arousal."""
