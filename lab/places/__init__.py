"""Hosts shared by many runs: places of a labgrid coordinator, held by leases that end by themselves.

labgrid locks a place for a user and for ever. What it does in one step, under its own lock, is used to make
a lease of that:

1. Every holding has a name of its own, HOST/USER-RUN-leaseSECONDS; so labgrid's lock excludes runs of one
   user, too, a name never comes twice, and everybody reads from it how long the lease lasts without a beat.
2. Take: AcquirePlace. It fails if anybody has the place.
3. Beat, every sixth of the lease: AllowPlace for oneself. The coordinator refuses it to who does not have the
   place, and else stamps `changed`: to renew and to learn that one lost the place is one step.
4. Expire: whoever has seen no new stamp for a whole lease, and then reads that there is still none, may free
   the place: ReleasePlace(fromuser=that name), which does nothing if another has it by now. Then all take
   (2) as always; one gets it.
5. Stop: a holder without a good beat for half a lease ends its run in order, and after eleven twelfths
   kills it. It counts from before the beat was sent, others from after they saw it: it is always first.
6. Before a holder touches the host it writes a tag with its name, in_use_..., and deletes it after it gave
   the host back. Who then reads a tag of another waits a lease, unless it read the end of that one (4), gives
   the host back, deletes the tag and only then goes on: a coordinator that starts anew has forgotten who had
   what, but not the tags.
7. Nobody compares clocks of two machines: stamps are only looked at for being new. Each counts by its
   own CLOCK_BOOTTIME, which goes on while a laptop sleeps; they must run equally fast within 8 %.
8. A beat that gets no answer is not refused: it is sent again over a new connection until 5 says stop.
9. The coordinator writes tags to disk every 15 s: if it dies before, 6 is lost, and the lock that the host
   agent holds on its journal is what still keeps two runs apart.

`testcases/selftest/test_places_protocol.py` explores this with every order of steps, pauses and deaths.
"""
