"""Runs a fuzz target under libFuzzer for some seconds and prints the coverage it reached:  coverage.py TARGET CORPUS [SECONDS]

Fails where the target finds something, where coverage ends at what the seeds alone reach, or below the least stated here: about nine tenths of
what was measured. A target whose inputs are all refused at the door has a tenth of it."""
import os
import re
import shutil
import subprocess
import sys

LEAST = {"fuzz_c": 550, "fuzz_hmw": 218, "fuzz_index": 81, "fuzz_mlir": 480, "fuzz_safetensors": 117, "fuzz_spec": 1280, "fuzz_tuning": 540}

target, corpus = sys.argv[1:3]
seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 8
name = os.path.basename(target)
found = os.path.join("found", name)  # libFuzzer writes what it finds into the first folder
shutil.rmtree(found, ignore_errors=True)
os.makedirs(found)
result = subprocess.run([target, "-seed=1", f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", f"-artifact_prefix={found}/", found, corpus],
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
seeds, end = (re.search(rf"^#\d+\s+{word}\s+cov: (\d+)", result.stdout, re.M) for word in ("INITED", "DONE"))
if result.returncode or not seeds or not end:
    print(result.stdout)
    sys.exit(f"{name}: failed with status {result.returncode}; inputs are in {os.path.abspath(found)}")
first, last = int(seeds[1]), int(end[1])
runs = re.search(r"^accepted \d+ of \d+ inputs", result.stdout, re.M)
print(f"{name}: coverage {first} with the seeds, {last} in the end; {runs[0] if runs else 'nothing said of what was accepted'}")
if name not in LEAST:
    sys.exit(f"{name}: tests/fuzz/coverage.py does not state the least coverage")
if last < LEAST[name] or last <= first:
    sys.exit(f"{name}: expected a coverage of at least {LEAST[name]}, and more than the seeds alone have")
