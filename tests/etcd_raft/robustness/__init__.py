"""Real members under real faults: recorded histories, and checks of every promise against them.

``links`` stands between the members and breaks what is between them; ``sick_disk`` fails their syncs; ``faults`` are the
misfortunes; ``traffic`` writes, reads and watches, and records it all in ``history``; ``model`` with ``checker`` judges what
clients were answered, ``watch_guarantees`` what watchers were told; ``planted`` starts a member with a bug on purpose, to show
that all of this would notice.
"""
