"""The scheduler: gives every pod that has none a node.

Pods wait in a queue (:mod:`scheduler.queue`); the loop (:mod:`scheduler.loop`) takes one after the other and decides
(:mod:`scheduler.algorithm`): *filter* the nodes that could run it, *score* those, take one of the best at random. What
filters and scores are plugins (:mod:`scheduler.framework` says what one is, :mod:`scheduler.plugins` holds upstream's
default profile). They look at a table of nodes and pods (:mod:`scheduler.cache`) that informers keep current
(:mod:`scheduler.eventhandlers`). When nothing fits, :mod:`scheduler.preemption` looks for less important pods to evict.

Queue, table, plugins, decision and preemption are pure: no sockets, no clock of their own. Read
:mod:`scheduler.algorithm` first.
"""
