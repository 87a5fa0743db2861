"""The landing station: from the files that the platforms deliver to checked, typed rows in the raw schema.

`contract` says what may be delivered, `loading` takes it in, `ledger` knows what is new. Which rows win a key is decided
here; what the rows mean is left to the dbt models that read them.
"""
