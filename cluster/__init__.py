"""Brings a whole cluster up on this machine, keeps it running and takes it down without a trace.

It starts the components as processes and knows them only by their flags; it imports none of their insides. Read in this order:

- :mod:`cluster.home`: where the state of a cluster lives, and its locks
- :mod:`cluster.spec`: what a cluster consists of (``cluster.json``), its ports and addresses
- :mod:`cluster.certificates`, :mod:`cluster.kubeconfig`: who may talk to whom
- :mod:`cluster.plan`: spec -> the processes with their flags (a pure function)
- :mod:`cluster.supervisor`, :mod:`cluster.zygote`, :mod:`cluster.guard`: start them, watch them, restart what falls
- :mod:`cluster.network`: a network namespace for each node, on a bridge of the cluster
- :mod:`cluster.up`, :mod:`cluster.down`, :mod:`cluster.status`: the three commands
"""


class ClusterError(Exception):
    """What went wrong and what to do about it, in a sentence for the person at the terminal."""
