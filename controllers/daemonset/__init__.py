"""DaemonSets: one pod on every Node that fits.

:mod:`~controllers.daemonset.placement` says which Nodes fit and what a pod for one looks like,
:mod:`~controllers.daemonset.plan` compares that with the pods there are, :mod:`~controllers.daemonset.loop` watches and writes.
"""
