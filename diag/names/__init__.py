"""Which container resolves which name to what, and by what: names are a second reachability."""
