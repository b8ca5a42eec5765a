"""What tells others of an outcome: the one package that calls out."""
