"""The last station: the promised tables are copied to a fresh file, verified, and swapped in."""
