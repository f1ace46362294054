"""Whether the lab's verdicts can be trusted: planted faults must be caught, clean runs must be green.

matrix:      fault by checker, from the record of a run
bound:       how often clean runs may still cry wolf
certificate: what a calibration leaves, and what a later run may stand on
"""
