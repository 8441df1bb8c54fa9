"""Networks around another network."""
