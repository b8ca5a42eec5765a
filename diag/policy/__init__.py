"""Expectations as code: who must reach whom, who must not, which names must resolve, and whether that is so."""
