"""The verbs of the API on any resource.

``endpoint`` joins what one resource is (row, strategy, cache, codec); ``commit`` is how every change reaches the store;
then one module a verb. ``subresources`` holds what is not plain reading or writing of the object.
"""
