"""A host read by its agent, and written down as a target file and as an exporter file of labgrid.

What must not be touched is kept out, with the reason beside it; what may hold something of worth is written
down but switched off, and somebody has to switch it on. Nothing here asks a host: its agent has said it all.
"""

from lab.discovery.entries import Entry
from lab.discovery.machine import Machine
from lab.discovery.sorting import Discovery, KeptOut, Offer, sorted_out

__all__ = ["Discovery", "Entry", "KeptOut", "Machine", "Offer", "sorted_out"]
