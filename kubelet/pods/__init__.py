"""Pods on this node. Start with :mod:`.worker` (one pod's life), then :mod:`.actions` and :mod:`.status` (the rules, pure)."""
