"""SelfieRuns that somebody might write to get more than a run, by what they try and where."""

from hostile_addresses import ADDRESSES
from hostile_fields import FIELDS

HOSTILE = [*ADDRESSES, *FIELDS]
