"""Whether a host may be used: a state machine (`state`), kept on the controller (`store`), and asked (`use`).

good -- a use failed --> suspect -- check passed --> good
                         suspect -- check failed --> quarantined -- restored, or by hand --> suspect
any -- it could not be restored --> quarantined;  any <-- by hand --> maintenance

Only good hosts, and suspect ones after a check, are handed out; everything else is *broken*, never a skip.
"""

from lab.health.state import Event, Health, State, after, refusal
from lab.health.store import Store

__all__ = ["Event", "Health", "State", "Store", "after", "refusal"]
