"""The guest's QEMU: its command line as data, its QMP monitor, and what must hold before an update."""
