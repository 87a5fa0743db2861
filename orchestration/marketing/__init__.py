"""The marketing station: from segments and permission to plans, lists that are handed over, and what they caused."""
