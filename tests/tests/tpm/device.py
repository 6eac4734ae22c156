"""A character device for swtpm: device.py SOCKET LINK

The kernel's /dev/tpmrm0 gives each program that opens it objects of its own in the TPM, and removes them when
the program closes it. A kernel without the module `tpm_vtpm_proxy` cannot make one for swtpm. So this program makes
a pseudo-terminal, which programs open, write and read as they do that device. It passes what they write to swtpm's
socket SOCKET, and removes what a program left when no program has the terminal open. LINK becomes a link to the
terminal. The program ends when its standard input does.
"""

import os
import pty
import select
import socket
import struct
import sys
import tty

HEADER = 10
# The first handle of each kind of object that is lost when the TPM restarts: objects, sessions.
KINDS = (0x80000000, 0x02000000, 0x03000000)


def whole(read):
    """A command or an answer: its second field is its length."""
    frame = b""
    while len(frame) < HEADER or len(frame) < struct.unpack(">I", frame[2:6])[0]:
        more = read(4096)
        if not more:
            raise EOFError
        frame += more
    return frame


def ask(path, command):
    with socket.socket(socket.AF_UNIX) as tpm:
        tpm.connect(path)
        tpm.sendall(command)
        return whole(tpm.recv)


def remove_objects(path):
    for kind in KINDS:
        # TPM2_GetCapability of the handles, and TPM2_FlushContext for each.
        answer = ask(path, struct.pack(">HIIIII", 0x8001, 22, 0x17A, 1, kind, 64))
        (count,) = struct.unpack(">I", answer[15:19])
        for handle in struct.unpack(f">{count}I", answer[19 : 19 + 4 * count]):
            ask(path, struct.pack(">HIII", 0x8001, 14, 0x165, handle))


def main():
    path, link = sys.argv[1:]
    device, terminal = pty.openpty()
    tty.setraw(terminal)
    os.symlink(os.ttyname(terminal), link)
    os.close(terminal)
    used = False
    while not select.select([0], [], [], 0.001)[0]:
        try:
            command = whole(lambda size: os.read(device, size))
        except OSError:  # no program has it open
            if used:
                try:
                    remove_objects(path)
                except OSError:  # swtpm is away
                    pass
            used = False
            continue
        used = True
        try:
            os.write(device, ask(path, command))
        except (OSError, EOFError):  # swtpm is away: no answer
            pass


main()
