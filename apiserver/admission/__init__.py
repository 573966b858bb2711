"""What happens to an object between decoding and the kind's own rules: plugins that change it and plugins that refuse it.

``chain`` runs them in upstream's order; each plugin is a module.
"""

from apiserver.admission.chain import Attributes, Chain, Plugin

__all__ = ["Attributes", "Chain", "Plugin"]
