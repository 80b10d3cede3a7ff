"""Real performances of other speakers, laid on a recording: bank, choice and rendering."""
