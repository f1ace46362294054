"""cprlab: proves or refutes what QEMU promises about live update (CPR) with assigned devices."""
