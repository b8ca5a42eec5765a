"""Sets of packets instead of packets: what every container reaches, in one pass over the rules."""
