"""What real kubectls print, written down: each file below ``transcripts/`` is a session that is replayed and compared whole.

A transcript reads like a terminal. Each runs in a namespace of its own name, with ``manifests/`` as its working directory,
against one cluster a kubectl version (store, API server, controller manager, two nodes without containers):

    ## A comment.
    $ kubectl get pods                   the prompt; what follows is the output, both streams, up to the next prompt
    [exit 1]                             last line of the output where the command failed
    1.27 1.30 $ kubectl get pods         only these versions print that; others have a block of their own
    $ until kubectl get pods             repeated until it prints this, for controllers take their time

A first line ``versions: 1.33`` names the versions that a transcript is for. What differs from run to run (ages, times, uids,
random names, allocated addresses) is masked, ``transcript.py`` says how.

    python -m tests.apiserver.kubectl_matrix.write [NAME ...]     replays and writes what was printed; read the diff
"""
