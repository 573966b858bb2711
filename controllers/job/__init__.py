"""Jobs: pods that run to their end, so many times, and are counted exactly once.

Each pod carries a finalizer until it has been counted, so none can vanish uncounted; the status lists the uids that are
being counted, so none is counted twice. :mod:`~controllers.job.plan` decides, :mod:`~controllers.job.counting` counts,
:mod:`~controllers.job.failure` applies the pod failure policy, :mod:`~controllers.job.loop` watches and writes.
"""
