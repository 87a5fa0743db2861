"""The recommendations station: from preferences to trained models, scored lists and their evaluation."""
