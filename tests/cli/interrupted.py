"""interrupted.py HMOEC SIGNAL: ends a command while it writes a large file, and says what it left in the directory."""
import os, signal, subprocess, sys, time

os.makedirs("way/tmp", exist_ok=True)
way = os.path.realpath("way")
LARGE = ["-D", "d_model=512", "-D", "d_ff=65536", "-D", "experts=16"]  # 4 GB of random weights


def writes_there(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(way) and os.stat(f"/proc/{pid}/fd/{fd}").st_size > 1 << 20:
                return True
        except FileNotFoundError:
            pass
    return False


for options in (["--save-weights", "way/w.safetensors"], []):
    process = subprocess.Popen([sys.argv[1], "check", sys.argv[3], *LARGE, *options], env={**os.environ, "TMPDIR": way + "/tmp"},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.time() + 60
    while process.poll() is None and not writes_there(process.pid) and time.time() < end:
        time.sleep(0.01)
    process.send_signal(getattr(signal, sys.argv[2]))
    print(f"{'save' if options else 'temporary'}: status {process.wait()}, left {os.listdir('way')} {os.listdir('way/tmp')}")
