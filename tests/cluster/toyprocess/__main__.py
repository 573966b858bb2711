"""Says that it runs, then does what its flags say: nothing, exit, ignore SIGTERM, or listen on a port."""

import signal
import socket
import sys
import time


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    print("running", *arguments, flush=True)
    if "--exit" in arguments:
        return 3
    if "--stubborn" in arguments:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = None
    for argument in arguments:
        if argument.startswith("--listen="):
            listener = socket.create_server(("127.0.0.1", int(argument.removeprefix("--listen="))))
            print("listening", listener.getsockname()[1], flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
