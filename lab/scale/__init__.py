"""A simulated lab, to see what a real one will cost and what in it breaks first.

Real: the coordinator, labgrid's exporters (many in a process), and in each run everything the lab does around
its cases: queue, lease, target file, drivers, ssh, release. Not real: the hosts, of which there is only ssh,
and the cases, instead of which a run holds its host for some seconds.
"""
