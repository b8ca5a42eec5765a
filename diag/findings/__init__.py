"""The checks: facts of a host that are wrong, each with its evidence and what helps."""
