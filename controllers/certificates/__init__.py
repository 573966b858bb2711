"""Certificate signing requests: kubelets' own are approved, approved ones are signed, old ones go.

``requests`` says what a request asks for and whether a signer may grant it, ``authority`` makes certificates; ``approving``, ``signing``
and ``cleaner`` are the loops.
"""
