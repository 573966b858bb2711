"""This machine as a Node: :mod:`.machine` (what it has), :mod:`.status` (how that is told), :mod:`.registration`, :mod:`.lease`."""
