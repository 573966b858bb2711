"""What an object of the Kubernetes API is: pure knowledge, no I/O, shared by every component.

Read in this order: ``resources`` (the table of kinds), ``meta`` (names, owners, conditions), ``schema`` (what fields an
object has and what upstream says to one that has others), ``errors`` (how that is said). Then what works on objects:
``selectors``, ``quantity``, ``patch``, ``table`` and ``duration``.

Texts, canonical forms and limits are upstream's (``k8s.io/apimachinery``, v0.33): clients and people rely on them.
"""
