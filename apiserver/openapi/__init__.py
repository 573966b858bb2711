"""The published schemas: ``/openapi/v3`` (an index, one document a group-version) and ``/openapi/v2``.

Built from the resource table and ``definitions.json.gz`` when somebody first asks (``rendered``), for hardly anybody does.
"""
