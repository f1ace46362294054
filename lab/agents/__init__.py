"""Programs that the lab copies to a bench host, into the guest, or to the far end of a wire.

Standard library only (Python 3.11 or newer) and relative imports only: this package is named
`lab.agents` on the controller and `agents` where it is copied to.
"""
