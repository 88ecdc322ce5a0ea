#!/usr/bin/env python3
"""comma_locale.py BUILD [--latin1] COMMAND...: runs a command in a locale whose decimal separator is a comma, as a program does that has called
setlocale(LC_ALL, ""). Messages of the system stay English. With --latin1 the letters beyond ASCII are one byte each.

The locale is made by localedef in BUILD/tests/locales when it is first asked for; the sources are in Debian's package locales. Exit
status 77, which ctest takes as skipped: they are missing."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

arguments = sys.argv[1:]
build = Path(arguments.pop(0)).resolve()
charset = "ISO-8859-1" if arguments[0] == "--latin1" and arguments.pop(0) else "UTF-8"
name, folder = f"de_DE.{charset}", build / "tests" / "locales"
if not (folder / name).exists():
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary) / name
        localedef = shutil.which("localedef", path=os.environ.get("PATH", "") + ":/usr/bin")
        if not localedef or subprocess.run([localedef, "-i", "de_DE", "-f", charset, made], capture_output=True).returncode:
            print(f"comma_locale: localedef cannot make {name}: the package locales is missing", file=sys.stderr)
            sys.exit(77)
        try:
            made.rename(folder / name)
        except OSError:  # another process was quicker
            pass
environment = {key: value for key, value in os.environ.items() if not key.startswith("LC_") and key != "LANGUAGE"}
environment.update(LOCPATH=str(folder), LANG=name, LC_MESSAGES="C", LD_PRELOAD=str(build / "lib" / "comma_locale.so"))
os.execvpe(arguments[0], arguments, environment)
