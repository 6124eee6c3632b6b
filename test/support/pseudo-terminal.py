# Runs a program in a pseudo-terminal. Standard input has commands, a JSON object a line: {"write": "..."} types,
# {"columns": 80, "rows": 24} resizes. What the program writes goes to standard output.
#   python3 pseudo-terminal.py COLUMNS ROWS PROGRAM ARGUMENT...

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios


def resize(terminal, columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


columns, rows, *program = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(program[0], program)
resize(terminal, int(columns), int(rows))

pending = b""
commands = True
while True:
    ready, _, _ = select.select([terminal, 0] if commands else [terminal], [], [])
    if terminal in ready:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux: the program has closed its side
            data = b""
        if not data:
            break
        while data:
            data = data[os.write(1, data) :]
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            # Whoever drives this is gone: so is the terminal.
            commands = False
            os.kill(child, signal.SIGHUP)
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "write" in command:
                text = command["write"].encode()
                while text:
                    text = text[os.write(terminal, text) :]
            else:
                resize(terminal, command["columns"], command["rows"])
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
