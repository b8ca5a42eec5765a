"""A host's network state on disk: the layout, a reader that trusts nothing, and a writer."""
