"""What Services need besides themselves: addresses and ports, each handed out once, however many API servers there are.

An allocation is a key of the store that is created in the same transaction as the Service: two servers cannot take the
same one, and nothing leaks when a process dies in between.
"""

from apiserver.allocators.services import ServiceAllocator

__all__ = ["ServiceAllocator"]
