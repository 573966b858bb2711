"""The service proxy of a node: makes the addresses and ports of Services lead to their endpoints.

Read :mod:`proxy.service` and :mod:`proxy.endpoint` (what a Service port and its endpoints are), :mod:`proxy.tracker` (which
ports an event concerns) and :mod:`proxy.rules` (one port -> iptables rules): these are pure. :mod:`proxy.iptables` runs the
programs, :mod:`proxy.syncer` decides when. Where there is no right to iptables, :mod:`proxy.userspace` forwards
connections itself.
"""
