"""What a kernel's machine code must not do (tools/gpu-report --help has it in words)."""
HGMMA_RUN, MOST_ISSUE, TILE_CYCLES = 4, 0.5, 512 # TILE_CYCLES: of a warpgroup's plane of 64 rows and 256 columns


def broken(kernel):
    """What a kernel does that it must not, in words."""
    if kernel.count("LDL", "STL"):
        yield f"has {kernel.count('LDL', 'STL')} accesses of local memory"
    for loop in kernel.loops_with("HGMMA"):
        if set(loop.hgmma_runs()) != {HGMMA_RUN}:
            yield f"has runs of {', '.join(map(str, loop.hgmma_runs()))} HGMMA in its loop, expected {HGMMA_RUN}"
        if loop.mix["STG"]:
            continue # so few planes that there is no loop over them, but the one over tiles
        if set(loop.batch_waits()) != {1}:
            yield f"waits in its loop until {', '.join(map(str, loop.batch_waits()))} batches are on the way, expected 1"
        issue = loop.stall_cycles / loop.tensor_cycles
        if loop.tensor_cycles == TILE_CYCLES and issue >= MOST_ISSUE:
            yield f"takes {issue:.2f} of the time that tensor cores are busy to issue its loop, expected less than {MOST_ISSUE}"
