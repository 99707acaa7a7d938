"""What stands where a program stands: asks the server for a child that is the program, and ends as that one ends.

    python client.py SOCKET PROGRAM [ARGUMENT ...]

Signals are passed on to the child; when this process is killed, so is the child.
"""

import os
import signal
import sys
from json import dumps
from socket import AF_UNIX, send_fds, socket
from struct import pack, unpack

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)


def number(server: socket) -> int:
    """The next number that the server sends."""
    told = server.recv(4)
    if len(told) < 4:
        sys.exit("the server of warm processes is gone")
    return unpack("!i", told)[0]


def main(address: str, *command: str) -> None:
    """Run a command in a child of the server at this address."""
    umask = os.umask(0)
    os.umask(umask)
    asked = {"argv": command, "cwd": os.getcwd(), "environment": dict(os.environ), "umask": umask}
    message = dumps(asked).encode()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    with socket(AF_UNIX) as server:
        server.connect(address)
        send_fds(server, [pack("!i", len(message))], [0, 1, 2])
        server.sendall(message)
        child = number(server)
        for passed in PASSED_ON:
            signal.signal(passed, lambda number, _: os.kill(child, number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        code = number(server)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
