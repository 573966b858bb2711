"""The state that the log builds: keys with all their revisions, leases, watches.

``backend`` is the file (LMDB) and its one long transaction; ``index`` finds the newest revision of a key; ``store`` makes
revisions, reads any of them and forgets old ones; ``txn`` checks and runs transactions; ``lease`` knows what lives how
long; ``watch`` tells who wants to know. Nothing here waits or talks to anybody: the server applies entries and hands out
what comes of them.

How a key is stored: ``log`` holds every change under its revision (8 bytes main, 4 bytes sub, big endian), as a header with
a pointer to the key's previous change, followed by the ``mvccpb.KeyValue`` as it goes over the wire. ``index`` holds, under
the key, where its newest change is. A read of the newest state is one walk over ``index``; an older revision follows the
pointers back; a watch from an older revision walks ``log``.
"""
