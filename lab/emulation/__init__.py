"""Bare metal without metal: a host that its BMC alone switches, reached by ssh and a serial line.

`python -m lab.emulation FOLDER` starts one and writes the target file that describes it. Nothing that runs on
a real bench imports this package: it stands where the machine room would be.
"""
