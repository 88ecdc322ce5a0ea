"""The grouped product with mma.sync, for sm_80 and later, from the same packed operands as hopper.py (see there):

  tiled   128 x 128 x 64 tiles, 8 warps of 64 x 32, cp.async into `stages` buffers, ldmatrix, mma.m16n8k16: many rows
  stream  up to 8 rows of a group: a warp reads 16 weight rows straight from memory into the A operand of mma.m16n8k16, 16 bytes a lane, with no
          shared memory between; the tokens are the B operand. The eight k of a 16-byte piece are dealt to the instruction's k slots in an order
          that is the same for both operands, so nothing is rearranged: piece c of a row is words w0..w3; step 0 takes (w0, w1), step 1
          (w2, w3). Warps take every WARPS-th plane; their sums are added in the order of the warps.
"""
from hopper import E

TILED_BUGS = ('no_tile_barrier', 'short_wait', 'no_barrier', 'no_swizzle')
STREAM_BUGS = ('order', 'no_barrier', 'no_second_barrier')

MMA = '"llvm.nvvm.mma.m16n8k16.row.col.bf16"'
F4 = '!llvm.struct<(f32, f32, f32, f32)>'
I4 = '!llvm.struct<(i32, i32, i32, i32)>'
ARGS = ('(%A: !llvm.ptr<1>, %W: !llvm.ptr<1>, %tiles: !llvm.ptr<1>, %count: !llvm.ptr<1>, %bias: !llvm.ptr<1>, %out: !llvm.ptr<1>, '
        '%scatter: !llvm.ptr<1>, %row_stride: i32)')


def mma(e, a, b, c):
    r = e.v(f'llvm.call_intrinsic {MMA}({", ".join(a + b + c)}) : ({", ".join(["i32"] * 6 + ["f32"] * 4)}) -> {F4}')
    return [e.v(f'llvm.extractvalue {r}[{i}] : {F4}') for i in range(4)]


def fields(e, t, nb):
    m, n = e.op('udiv', t, nb), e.op('urem', t, nb)
    p = e.gep('%tiles', e.ext(e.mul(m, e.i32(16))), 1)
    return [e.v(f'llvm.load {p} : !llvm.ptr<1> -> i32'), n, e.v(f'llvm.load {e.gep(p, e.i64(4), 1)} : !llvm.ptr<1> -> i32'),
            e.v(f'llvm.load {e.gep(p, e.i64(8), 1)} : !llvm.ptr<1> -> i32')]


def tiled(name, K, N, stages=3, bug=None):
    BN, KT = 128, K // 64
    NB, STAGE = N // BN, 32768
    e = E()
    e.ind = 1
    e(f'llvm.func @{name}{ARGS} attributes {{nvvm.kernel, nvvm.reqntid = array<i32: 256, 1, 1>, nvvm.minctasm = 1 : i32}} {{')
    e.ind = 2
    smem = e.v('llvm.mlir.addressof @smem : !llvm.ptr<3>')
    z, one = e.i32(0), e.i32(1)
    tid, cta, ncta = [e.v(f'nvvm.read.ptx.sreg.{x}.x : i32') for x in ('tid', 'ctaid', 'nctaid')]
    nb, ktc, stc = e.i32(NB), e.i32(KT), e.i32(stages)
    total = e.mul(e.v('llvm.load %count : !llvm.ptr<1> -> i32'), nb)
    lane, warp = e.op('and', tid, e.i32(31)), e.op('lshr', tid, e.i32(5))
    wm, wn = e.op('and', warp, one), e.op('lshr', warp, one)
    t16 = e.mul(tid, e.i32(16))
    zero = e.v('llvm.mlir.constant(0.0 : f32) : f32')
    e(f'scf.for %t = {cta} to {total} step {ncta} : i32 {{')
    g, n, r0, rows = fields(e, '%t', nb)
    wbase = e.mul(e.ext(e.mul(e.add(e.mul(g, nb), n), ktc)), e.i64(BN * 128), 'i64')
    plane = e.mul(e.ext('%row_stride'), e.i64(128), 'i64')
    abase = e.mul(e.ext(r0), e.i64(128), 'i64')

    def copy(k, stage):
        s = e.sgep(smem, e.add(e.mul(stage, e.i32(STAGE)), t16))
        pa = e.gep('%A', e.add(e.add(abase, e.mul(e.ext(k), plane, 'i64'), 'i64'), e.ext(t16), 'i64'), 1)
        pb = e.gep('%W', e.add(e.add(wbase, e.mul(e.ext(k), e.i64(BN * 128), 'i64'), 'i64'), e.ext(t16), 'i64'), 1)
        for i in range(4):
            o32, o64 = e.i32(4096 * i), e.i64(4096 * i)
            e(f'nvvm.cp.async.shared.global {e.sgep(s, o32)}, {e.gep(pa, o64, 1)}, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>')
            e(f'nvvm.cp.async.shared.global {e.sgep(s, e.i32(16384 + 4096 * i))}, {e.gep(pb, o64, 1)}, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>')

    if bug != 'no_tile_barrier':
        e('nvvm.barrier0')
    for s in range(stages - 1):
        c = e.i32(s)
        ok = e.v(f'llvm.icmp "slt" {c}, {ktc} : i32')
        e(f'scf.if {ok} {{')
        copy(c, c)
        e('}')
        e('nvvm.cp.async.commit.group')
    names = [f'%acc{i}' for i in range(64)]
    types = ', '.join(['f32'] * 64)
    e(f'%r:64 = scf.for %k = {z} to {ktc} step {one} iter_args({", ".join(f"{x} = {zero}" for x in names)}) -> ({types}) : i32 {{')
    e(f'nvvm.cp.async.wait.group {stages - 2 if bug != "short_wait" else stages - 1}')
    if bug != 'no_barrier':
        e('nvvm.barrier0')
    nk = e.add('%k', e.i32(stages - 1))
    more = e.v(f'llvm.icmp "slt" {nk}, {ktc} : i32')
    e(f'scf.if {more} {{')
    copy(nk, e.op('urem', nk, stc))
    e('}')
    e('nvvm.cp.async.commit.group')
    stage = e.mul(e.op('urem', '%k', stc), e.i32(STAGE))
    sa, sb = e.sgep(smem, stage), e.sgep(smem, e.add(stage, e.i32(16384)))
    sw = e.op('and', lane, e.i32(7))
    arow = e.add(e.mul(wm, e.i32(64)), e.op('and', lane, e.i32(15)))
    apiece = e.op('lshr', lane, e.i32(4))
    brow = e.add(e.mul(wn, e.i32(32)), e.add(sw, e.mul(e.op('lshr', lane, e.i32(4)), e.i32(8))))
    bpiece = e.op('and', e.op('lshr', lane, e.i32(3)), one)
    acc = list(names)
    LD = '{layout = #nvvm.mma_layout<row>, num = 4 : i32, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> ' + I4
    for kk in range(4):
        pa = e.mul(e.op('xor', e.add(apiece, e.i32(2 * kk)), sw if bug != 'no_swizzle' else z), e.i32(16))
        pb = e.mul(e.op('xor', e.add(bpiece, e.i32(2 * kk)), sw if bug != 'no_swizzle' else z), e.i32(16))
        a, b = [], []
        for i in range(4):
            x = e.v(f'nvvm.ldmatrix {e.sgep(sa, e.add(e.mul(e.add(arow, e.i32(16 * i)), e.i32(128)), pa))} {LD}')
            a.append([e.v(f'llvm.extractvalue {x}[{j}] : {I4}') for j in range(4)])
        for i in range(2):
            x = e.v(f'nvvm.ldmatrix {e.sgep(sb, e.add(e.mul(e.add(brow, e.i32(16 * i)), e.i32(128)), pb))} {LD}')
            w = [e.v(f'llvm.extractvalue {x}[{j}] : {I4}') for j in range(4)]
            b += [w[:2], w[2:]]
        for i in range(4):
            for j in range(4):
                o = (i * 4 + j) * 4
                acc[o:o + 4] = mma(e, a[i], b[j], acc[o:o + 4])
    e(f'scf.yield {", ".join(acc)} : {types}')
    e('}')
    quad, grp = e.op('and', lane, e.i32(3)), e.op('lshr', lane, e.i32(2))
    col = e.add(e.add(e.mul(n, e.i32(BN)), e.mul(wn, e.i32(32))), e.mul(quad, e.i32(2)))
    bp = e.gep('%bias', e.mul(e.ext(e.add(e.mul(g, e.i32(N)), col)), e.i64(4), 'i64'), 1)
    for i in range(4):
        for h in range(2):
            r = e.add(e.add(e.mul(wm, e.i32(64)), e.i32(16 * i + 8 * h)), grp)
            e(f'scf.if {e.v(f"llvm.icmp {chr(34)}slt{chr(34)} {r}, {rows} : i32")} {{')
            d = e.v(f'llvm.load {e.gep("%scatter", e.ext(e.mul(e.add(r0, r), e.i32(4))), 1)} : !llvm.ptr<1> -> i32')
            rp = e.gep('%out', e.add(e.mul(e.ext(d), e.i64(4 * N), 'i64'), e.mul(e.ext(col), e.i64(4), 'i64'), 'i64'), 1)
            for j in range(4):
                o = e.i64(32 * j)
                v = e.v('llvm.mlir.poison : vector<2xf32>')
                for q in range(2):
                    v = e.v(f'llvm.insertelement %r#{(i * 4 + j) * 4 + 2 * h + q}, {v}[{e.i32(q)} : i32] : vector<2xf32>')
                v = e.v(f'llvm.fadd {v}, {e.v(f"llvm.load {e.gep(bp, o, 1)} : !llvm.ptr<1> -> vector<2xf32>")} : vector<2xf32>')
                e(f'llvm.store {v}, {e.gep(rp, o, 1)} : vector<2xf32>, !llvm.ptr<1>')
            e('}')
    e('}')
    e('llvm.return')
    e.ind = 1
    e('}')
    return '\n'.join(e.lines), stages * STAGE


def stream(name, K, N, BN=128, warps=8, unroll=2, bug=None):
    """Grid: row tiles (at most 8 rows) x N/16."""
    KT, NB, UNITS = K // 64, N // BN, N // 16
    assert KT % 1 == 0
    e = E()
    e.ind = 1
    e(f'llvm.func @{name}{ARGS} attributes {{nvvm.kernel, nvvm.reqntid = array<i32: {32 * warps}, 1, 1>}} {{')
    e.ind = 2
    smem = e.v('llvm.mlir.addressof @smem : !llvm.ptr<3>')
    z, one = e.i32(0), e.i32(1)
    tid, cta, ncta = [e.v(f'nvvm.read.ptx.sreg.{x}.x : i32') for x in ('tid', 'ctaid', 'nctaid')]
    units, ktc = e.i32(UNITS), e.i32(KT)
    total = e.mul(e.v('llvm.load %count : !llvm.ptr<1> -> i32'), units)
    lane, warp = e.op('and', tid, e.i32(31)), e.op('lshr', tid, e.i32(5))
    g8, t4 = e.op('lshr', lane, e.i32(2)), e.op('and', lane, e.i32(3))
    zero = e.v('llvm.mlir.constant(0.0 : f32) : f32')
    plane = e.mul(e.ext('%row_stride'), e.i64(128), 'i64')
    piece = [e.mul(e.op('xor', e.add(t4, e.i32(4 * i)), g8), e.i32(16)) for i in range(2)]
    lrow = [e.ext(e.add(e.mul(g8, e.i32(128)), p)) for p in piece]
    e(f'scf.for %t = {cta} to {total} step {ncta} : i32 {{')
    g, u, r0, rows = fields(e, '%t', units)
    f0 = e.mul(u, e.i32(16))
    nb, fin = e.op('udiv', f0, e.i32(BN)), e.op('urem', f0, e.i32(BN))
    wb = e.add(e.mul(e.ext(e.mul(e.add(e.mul(g, e.i32(NB)), nb), ktc)), e.i64(BN * 128), 'i64'), e.mul(e.ext(fin), e.i64(128), 'i64'), 'i64')
    ab = e.mul(e.ext(r0), e.i64(128), 'i64')
    accs = [f'%acc{i}' for i in range(4)]
    e(f'%r:4 = scf.for %k = {warp} to {ktc} step {e.i32(warps)} iter_args({", ".join(f"{x} = {zero}" for x in accs)}) -> (f32, f32, f32, f32) : i32 {{')
    k64 = e.ext('%k')
    wp, ap = e.add(wb, e.mul(k64, e.i64(BN * 128), 'i64'), 'i64'), e.add(ab, e.mul(k64, plane, 'i64'), 'i64')
    W, X = [], []
    for i in range(2):
        for h in range(2):
            W.append(e.v(f'llvm.load {e.gep("%W", e.add(e.add(wp, lrow[i], "i64"), e.i64(1024 * h), "i64"), 1)} {{alignment = 16 : i64}} : !llvm.ptr<1> -> vector<4xi32>'))
        X.append(e.v(f'llvm.load {e.gep("%A", e.add(ap, lrow[i], "i64"), 1)} {{alignment = 16 : i64}} : !llvm.ptr<1> -> vector<4xi32>'))
    word = lambda v, i: e.v(f'llvm.extractelement {v}[{e.i32(i)} : i32] : vector<4xi32>')
    acc = list(accs)
    for i in range(2):
        for s in range(2):
            lo, hi = W[2 * i], W[2 * i + 1]
            k0, k1 = (2 * s, 2 * s + 1) if bug != 'order' else (s, s + 2)
            acc = mma(e, [word(lo, 2 * s), word(hi, 2 * s), word(lo, 2 * s + 1), word(hi, 2 * s + 1)], [word(X[i], k0), word(X[i], k1)], acc)
    e(f'scf.yield {", ".join(acc)} : f32, f32, f32, f32')
    e('}')
    # [warp][row of tokens 8][16 features]: sums wait in shared memory
    for h in range(2):
        for q in range(2):
            tok = e.add(e.mul(t4, e.i32(2)), e.i32(q))
            f = e.add(g8, e.i32(8 * h))
            o = e.mul(e.add(e.add(e.mul(warp, e.i32(128)), e.mul(tok, e.i32(16))), f), e.i32(4))
            e(f'llvm.store %r#{2 * h + q}, {e.sgep(smem, o)} : f32, !llvm.ptr<3>')
    if bug != 'no_barrier':
        e('nvvm.barrier0')
    tok, f = e.op('lshr', tid, e.i32(4)), e.op('and', tid, e.i32(15))
    ok = e.v(f'llvm.icmp "slt" {tok}, {rows} : i32')
    e(f'scf.if {ok} {{')
    s = None
    for w in range(warps):
        x = e.v(f'llvm.load {e.sgep(smem, e.add(e.mul(tid, e.i32(4)), e.i32(512 * w)))} : !llvm.ptr<3> -> f32')
        s = x if s is None else e.v(f'llvm.fadd {s}, {x} : f32')
    col = e.add(f0, f)
    b = e.v(f'llvm.load {e.gep("%bias", e.mul(e.ext(e.add(e.mul(g, e.i32(N)), col)), e.i64(4), "i64"), 1)} : !llvm.ptr<1> -> f32')
    s = e.v(f'llvm.fadd {s}, {b} : f32')
    d = e.v(f'llvm.load {e.gep("%scatter", e.ext(e.mul(e.add(r0, tok), e.i32(4))), 1)} : !llvm.ptr<1> -> i32')
    e(f'llvm.store {s}, {e.gep("%out", e.mul(e.ext(e.add(e.mul(d, e.i32(N)), col)), e.i64(4), "i64"), 1)} : f32, !llvm.ptr<1>')
    e('}')
    if bug != 'no_second_barrier':
        e('nvvm.barrier0')
    e('}')
    e('llvm.return')
    e.ind = 1
    e('}')
    return '\n'.join(e.lines), warps * 512
