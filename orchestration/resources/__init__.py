"""What assets are handed: the warehouse, dbt, and the store of trained models."""
