"""Liveness, readiness and startup probes. :mod:`.prober` schedules and counts, :mod:`.handlers` asks, :mod:`.results` remembers."""
