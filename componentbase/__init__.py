"""What every component has in common, as upstream's component-base: flags, logs, health and metrics, orderly shutdown.

Read :mod:`componentbase.process` for how a component's ``main`` is shaped.
"""
