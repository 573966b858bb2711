"""The pod network of one node, in the network namespace that the kubelet runs in.

Each pod has a veth pair: ``eth0`` inside, a port of the bridge ``cbr0`` outside, and one address of the node's podCIDR.
A pod's address is a /32 with a route to the gateway (the bridge's address): all that a pod sends goes through the node's
IP layer, also to its neighbours and to itself, so that Services work without ``br_netfilter`` and without hairpin ports.

Read :mod:`.pods` (a sandbox joins and leaves), :mod:`.ipam`, :mod:`.routes` (to the pods of other nodes, and what is
masqueraded), :mod:`.hostports`, :mod:`.rtnetlink` (the kernel's interface).
"""
