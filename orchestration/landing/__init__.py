"""The landing station: from the files that the platforms deliver to checked, typed rows in the raw schema."""
