"""The one package that touches a host, and only reads it.

:mod:`diag.capture.live` runs the collectors: the engine's API, the kernel's routing tables by netlink, netfilter by its
own tools, and `/proc`. Each has a time limit, and each that gets nothing says why.
"""
