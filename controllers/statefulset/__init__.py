"""StatefulSets: pods with names, in order, each with its own volumes.

:mod:`~controllers.statefulset.plan` decides, as a function of the set, its pods and its revisions; ``identity`` makes the pods and their
claims; ``loop`` watches and writes.
"""
