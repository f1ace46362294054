"""Errors by owner: the lab, the system under test, the caller.

LabError            Allure "broken"; exit status 2
  BenchError        the bench must be repaired
    HostSilent      its host does not answer: switching its power may help
  LabUsageError     the caller or a configuration file must be corrected
  Inconclusive      evidence is missing: an UNKNOWN verdict
SutError            becomes an event on the timeline, never an outcome of its own
  Refused           it definitely did not happen -> "fail"
  OutcomeUnknown    nobody knows whether it happened -> "info"
AssertionError      Allure "failed"; raised only for a FAIL verdict; exit status 1
"""


class LabError(Exception):
    """The lab cannot do its work; the message says what was asked, what came, where to look."""


class BenchError(LabError):
    """A bench, its devices or its images are not as they must be."""


class HostSilent(BenchError):
    """A host says nothing at all; one that refuses a key does not count."""


class LabUsageError(LabError):
    """A command, target file or argument is wrong."""


class Inconclusive(LabError):
    """What was recorded proves neither PASS nor FAIL."""


class SutError(Exception):
    """The system under test misbehaved: evidence for the timeline."""


class Refused(SutError):
    """The system under test refused; nothing happened."""


class OutcomeUnknown(SutError):
    """Contact was lost while it acted; it may or may not have happened."""
