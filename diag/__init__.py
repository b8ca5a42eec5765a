"""docker-diag: who can reach whom on a Docker host, by which path, and which fact stops the rest.

Read :mod:`diag.pipeline` first.
"""

__version__ = "0.1.0"
