"""The families of tables."""

from __future__ import annotations

from diag.model.address import Family
from diag.model.netfilter import TableFamily

TABLES = {Family.IPV4: TableFamily.IP, Family.IPV6: TableFamily.IP6}
"""The family of the tables that only packets of one family meet."""
