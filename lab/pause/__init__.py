"""How long the guest stands still, and why: points of a sweep, samples out of a run record, statistics."""
