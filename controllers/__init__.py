"""The controller manager: one process, one file (or folder) per control loop, led by whoever holds the Lease.

A loop watches through informers that all loops share, and reconciles one key at a time: it reads what is wanted and what
is from the caches, lets a pure function decide (``plan``, ``status``, ``reconcile``...), then does it over the API. Nothing is
remembered between two runs that could not be read from the API again, except expectations: what a loop has just
written and its cache has not shown yet.

Read in this order: :mod:`controllers.loop` (what a loop is), :mod:`controllers.replicaset` (the plainest complete one),
:mod:`controllers.deployment`, :mod:`controllers.garbagecollector`; :mod:`controllers.registry` lists them all.
"""
