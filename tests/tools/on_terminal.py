"""on_terminal.py LIBRARY COMMAND...: runs a command on a terminal with a library loaded before it; prints what it writes, a line for each that it
writes over, with what erases a line as ERASED. Its exit status is the command's."""
import os
import pty
import sys

library, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.environ["LD_PRELOAD"] = library
    os.execvp(command[0], command)
written = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:  # the command has ended
        break
    if not piece: break
    written += piece
print(written.decode().replace("\r\n", "\n").replace("\r", "\n").replace("\033[K", "ERASED\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
