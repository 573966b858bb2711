"""Plays transcripts with every version and writes what was printed; whoever ran it reads the diff.

python -m tests.apiserver.kubectl_matrix.write [NAME ...]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.apiserver.kubectl_matrix.stage import Stage
from tests.apiserver.kubectl_matrix.transcript import FOLDER, VERSIONS, Command, read_all, write


def main() -> int:
    parser = argparse.ArgumentParser(description="Write what the kubectls print now into the transcripts.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--version", action="append", choices=VERSIONS)
    given = parser.parse_args()
    wanted = [t for t in read_all() if not given.names or t.name in given.names]
    played: dict[str, dict[str, list[Command]]] = {t.name: {} for t in wanted}
    with tempfile.TemporaryDirectory() as folder:
        for version in given.version or VERSIONS:
            stage = Stage(Path(folder) / version, version)
            try:
                stage.start()
                for transcript in wanted:
                    if version in transcript.versions:
                        played[transcript.name][version] = stage.play(transcript, writing=True)
            finally:
                stage.stop()
    for transcript in wanted:
        (FOLDER / f"{transcript.name}.txt").write_text(write(transcript, played[transcript.name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
