"""Garbage collection by ownerReferences, for every kind that the server can list, watch and delete.

:mod:`~controllers.garbagecollector.graph` keeps who owns whom, by uid, as the watches tell it;
:mod:`~controllers.garbagecollector.verdict` decides what becomes of one object, as a function of the graph;
:mod:`~controllers.garbagecollector.loop` watches everything and carries the verdicts out. That an owner is not in the graph is no
proof that it does not exist: before anything is deleted for it, the server is asked.
"""
