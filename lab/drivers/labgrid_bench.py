"""All labgrid classes of cprlab: what a target file imports."""

from lab.drivers import labgrid_bmc, labgrid_console, labgrid_host, labgrid_strategy, labgrid_virtual

__all__ = ["labgrid_bmc", "labgrid_console", "labgrid_host", "labgrid_strategy", "labgrid_virtual"]
