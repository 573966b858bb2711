"""The API server: the only process that talks to the store; serves the Kubernetes API over HTTPS.

One data-driven REST machine serves every kind of the resource table. The way of a request, and what to read:

1. ``server``          TLS, uvicorn, the client's certificate
2. ``app``             filters in order: path -> who (``authentication``) -> may they (``authorization``) -> which handler
3. ``handlers``        the verbs; they decode, ask ``admission`` and the kind's strategy in ``registry``, and write
4. ``storage``         guarded writes to the store in upstream's key layout
5. ``cacher``          one watch on the store keeps every object with its encoded bytes: reads and watches come from it

All state lives in the store, so any number of API servers can run side by side.
"""
