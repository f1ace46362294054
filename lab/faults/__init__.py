"""Faults that are planted to see whether the checkers notice them; only tests of the lab use them.

fault:     what a fault is, and what it can reach
wire, guest, devices, host, new_qemu, witness, contained: the faults, by where they strike
catalogue: all of them
wrapper:   what new QEMU is started through, for those that strike between the two QEMUs
Those of the wire, the guest and the agents act in the agents: lab/agents/faults.py, mishaps.py and others.
"""
