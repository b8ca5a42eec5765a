"""One packet, one trace: the walk through namespaces, hop by hop, there and back."""
