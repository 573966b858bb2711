"""Raft as a pure state machine: no sockets, no clock, no disk, no randomness that was not passed in.

Read in this order: ``messages`` (what travels and what is stored), ``log`` (entries, and what is stable, committed and
applied), ``progress`` (what the leader knows of each follower), ``core`` (terms, roles and votes) with ``leader`` and
``follower`` (what each role does with a message), ``node`` (the surface: ``tick``, ``step``, ``propose``, ``ready``,
``advance``).

The contract with whoever drives it, once a round:

1. ``ready = node.ready()``; send ``ready.messages`` at any time (a leader's, nothing in them promises anything unsynced);
2. write ``ready.snapshot``, ``ready.hard_state`` and ``ready.entries`` to disk, and sync when ``ready.must_sync``;
3. only then send ``ready.promises`` (votes, acknowledgements) and apply ``ready.committed`` to the state;
4. ``node.advance()``, which also counts this member's own vote or copy, so that nobody, the leader itself included, ever
   counts an entry that is not on its disk. Entries are handed out for application only when they are on this disk.

Sources: the Raft paper and Ongaro's thesis (pre-vote 9.6, leadership transfer 3.10, ReadIndex 6.4, membership 4); the shape
is that of etcd-io/raft, whose behaviour is also the tie-breaker where the papers are silent.
"""
