"""CronJobs: a Job at the times of a schedule.

:mod:`~controllers.cronjob.schedule` reads cron's five fields and says when, :mod:`~controllers.cronjob.plan` what is due,
:mod:`~controllers.cronjob.loop` watches and writes.
"""
