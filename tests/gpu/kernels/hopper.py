"""The grouped product for sm_90a as MLIR (llvm, nvvm, scf, arith).

    C[rows of a group] = epilogue(A[rows] * W[group]^T), one persistent kernel over a table of row tiles.

  A     [k/64][row_stride][64] bf16: planes of 64 columns, each row 128 bytes, its 16-byte pieces swizzled by row%8: any 8-aligned run of rows of
        a plane is the shared memory image of a K-major 128B-swizzled tile, so one bulk copy loads it
  W     [groups][n/BN][k/64][BN][64] bf16, the same image
  tiles i32 [count][4]: group, first row (a multiple of 8), rows (1..128), unused;  count: i32
  gather  instead: A is bf16 [*][k], its rows at gather[row], copied by all threads of the producer with cp.async (16 bytes, zeros past the group)
  out   planes: bf16 [n/64][row_stride][64], swizzled, after bias and relu;  rows: f32 [*][n] at scatter[row]

Warpgroup 0 is the producer (one thread issues bulk copies), 1 and 2 are consumers with 64 rows each. `bug` breaks one thing on purpose, for the
tests of the emulator: see BUGS.
"""
BUGS = ('no_full_wait', 'no_empty_wait', 'wrong_tx', 'no_wgmma_wait', 'no_acc_fence', 'no_proxy_fence', 'wrong_sbo', 'no_swizzle', 'early_release',
        'no_store_wait', 'no_init_fence', 'no_init_barrier', 'wrong_parity', 'no_wgmma_fence', 'kstep', 'n_rows_past', 'no_consumer_fence', 'leader_release', 'registers')


class E:
    """Writes operations, one a line, and names their results."""

    def __init__(self):
        self.lines, self.n, self.ind = [], 0, 2

    def __call__(self, text):
        self.lines.append('  ' * self.ind + text)

    def v(self, text):
        self.n += 1
        name = f'%v{self.n}'
        self(f'{name} = {text}')
        return name

    def i32(self, x):
        return self.v(f'llvm.mlir.constant({x} : i32) : i32')

    def i64(self, x):
        return self.v(f'llvm.mlir.constant({x} : i64) : i64')

    def add(self, a, b, t='i32'):
        return self.v(f'llvm.add {a}, {b} : {t}')

    def mul(self, a, b, t='i32'):
        return self.v(f'llvm.mul {a}, {b} : {t}')

    def op(self, o, a, b, t='i32'):
        return self.v(f'llvm.{o} {a}, {b} : {t}')

    def ext(self, a):
        return self.v(f'llvm.sext {a} : i32 to i64')

    def gep(self, p, off, space):
        return self.v(f'llvm.getelementptr {p}[{off}] : (!llvm.ptr<{space}>, i64) -> !llvm.ptr<{space}>, i8')

    def sgep(self, p, off):
        return self.v(f'llvm.getelementptr {p}[{off}] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8')


def acc_struct(regs):
    return '!llvm.struct<(' + ', '.join(['f32'] * regs) + ')>'


def generate(name, K, N, BN=128, stages=4, out='planes', bug=None, gather=False):
    KT, NB, REGS = K // 64, N // BN, BN // 2
    A_BYTES, B_BYTES = 128 * 128, BN * 128
    STAGE = A_BYTES + B_BYTES
    STAGING = 2 * 64 * 128 * 2 if out == 'planes' else 0  # two 64 x 64 bf16 buffers a consumer
    BARS = stages * STAGE + STAGING
    S = acc_struct(REGS)
    e = E()
    e.ind = 1
    e(f'llvm.func @{name}(%A: !llvm.ptr<1>, %W: !llvm.ptr<1>, %tiles: !llvm.ptr<1>, %count: !llvm.ptr<1>, %bias: !llvm.ptr<1>, '
      f'%out: !llvm.ptr<1>, %scatter: !llvm.ptr<1>, %row_stride: i32, %gather: !llvm.ptr<1>) '
      'attributes {nvvm.kernel, nvvm.reqntid = array<i32: 384, 1, 1>, nvvm.minctasm = 1 : i32} {')
    e.ind = 2
    smem = e.v('llvm.mlir.addressof @smem : !llvm.ptr<3>')
    z, one = e.i32(0), e.i32(1)
    tid = e.v('nvvm.read.ptx.sreg.tid.x : i32')
    cta = e.v('nvvm.read.ptx.sreg.ctaid.x : i32')
    ncta = e.v('nvvm.read.ptx.sreg.nctaid.x : i32')
    wg = e.op('lshr', tid, e.i32(7))
    is0 = e.v(f'llvm.icmp "eq" {tid}, {z} : i32')
    full = [e.sgep(smem, e.i32(BARS + 8 * s)) for s in range(stages)]
    empty = [e.sgep(smem, e.i32(BARS + 8 * (stages + s))) for s in range(stages)]
    fullb, emptyb = e.sgep(smem, e.i32(BARS)), e.sgep(smem, e.i32(BARS + 8 * stages))
    two, eight = e.i32(2), e.i32(8)
    e(f'scf.if {is0} {{')
    for s in range(stages):
        e(f'nvvm.mbarrier.init {full[s]}, {one if not gather else e.i32(129)} : !llvm.ptr<3>, i32')
        e(f'nvvm.mbarrier.init {empty[s]}, {eight if bug != "leader_release" else two} : !llvm.ptr<3>, i32')
    if bug != 'no_init_fence':
        e('nvvm.fence.mbarrier.init')
    e('}')
    if bug != 'no_init_barrier':
        e('nvvm.barrier0')
    count = e.v(f'llvm.load {"%count"} : !llvm.ptr<1> -> i32')
    total = e.mul(count, e.i32(NB))
    prod = e.v(f'llvm.icmp "eq" {wg}, {z} : i32')
    ticks = e.i32(10000000)
    nb, kt_c, st_c = e.i32(NB), e.i32(KT), e.i32(stages)

    def tile_fields(t):
        m = e.op('udiv', t, nb)
        n = e.op('urem', t, nb)
        p = e.gep('%tiles', e.ext(e.mul(m, e.i32(16))), 1)
        g = e.v(f'llvm.load {p} : !llvm.ptr<1> -> i32')
        r0 = e.v(f'llvm.load {e.gep(p, e.i64(4), 1)} : !llvm.ptr<1> -> i32')
        rows = e.v(f'llvm.load {e.gep(p, e.i64(8), 1)} : !llvm.ptr<1> -> i32')
        return g, n, r0, rows

    def advance(stage, phase):
        s1 = e.add(stage, one)
        w = e.v(f'llvm.icmp "eq" {s1}, {st_c} : i32')
        ns = e.v(f'llvm.select {w}, {z}, {s1} : i1, i32')
        np_ = e.v(f'llvm.select {w}, {e.op("xor", phase, one)}, {phase} : i1, i32')
        return ns, np_

    def bar_at(base, stage):
        return e.sgep(base, e.mul(stage, e.i32(8)))

    e(f'scf.if {prod} {{')
    e(f'nvvm.setmaxregister decrease {56 if gather else 40}')
    if not gather:
        e(f'scf.if {is0} {{')
    # ---- producer
    e(f'%p:2 = scf.for %t = {cta} to {total} step {ncta} iter_args(%ps = {z}, %pp = {one}) -> (i32, i32) : i32 {{')
    g, n, r0, rows = tile_fields('%t')
    wbase = e.mul(e.ext(e.mul(e.add(e.mul(g, nb), n), kt_c)), e.i64(B_BYTES), 'i64')
    abase = e.mul(e.ext(r0), e.i64(128), 'i64')
    plane = e.mul(e.ext('%row_stride'), e.i64(128), 'i64')
    if gather:  # thread t: rows t/8 + 16 i, piece t%8 of the 128 bytes
        trow, tpiece = e.op('lshr', tid, e.i32(3)), e.op('and', tid, e.i32(7))
        srcs, sizes, dsts = [], [], []
        for i in range(8):
            row = e.add(trow, e.i32(16 * i))
            ok = e.v(f'llvm.icmp "slt" {row}, {rows} : i32')
            safe = e.v(f'llvm.select {ok}, {row}, {z} : i1, i32')
            idx = e.v(f'llvm.load {e.gep("%gather", e.ext(e.mul(e.add(r0, safe), e.i32(4))), 1)} : !llvm.ptr<1> -> i32')
            srcs.append(e.gep('%A', e.add(e.mul(e.ext(idx), e.i64(2 * K), 'i64'), e.ext(e.mul(tpiece, e.i32(16))), 'i64'), 1))
            sizes.append(e.v(f'llvm.select {ok}, {e.i32(16)}, {z} : i1, i32'))
            dsts.append(e.add(e.mul(row, e.i32(128)), e.mul(e.op('xor', tpiece, e.op('and', row, e.i32(7))), e.i32(16))))
    e(f'%q:2 = scf.for %k = {z} to {kt_c} step {one} iter_args(%s = %ps, %ph = %pp) -> (i32, i32) : i32 {{')
    if bug != 'no_empty_wait':
        e(f'nvvm.mbarrier.try_wait.parity {bar_at(emptyb, "%s")}, %ph, {ticks} : !llvm.ptr<3>, i32, i32')
    fb = bar_at(fullb, '%s')
    if gather:
        e(f'scf.if {is0} {{')
    e(f'nvvm.mbarrier.arrive.expect_tx {fb}, {e.i32((B_BYTES if gather else STAGE) + (16 if bug == "wrong_tx" else 0))} : !llvm.ptr<3>, i32')
    if gather:
        e('}')
    sa = e.sgep(smem, e.mul('%s', e.i32(STAGE)))
    sb = e.sgep(sa, e.i32(A_BYTES))
    if gather:
        for i in range(8):
            a = e.gep(srcs[i], e.mul(e.ext('%k'), e.i64(128), 'i64'), 1)
            e(f'nvvm.cp.async.shared.global {e.sgep(sa, dsts[i])}, {a}, 16, cache = cg, {sizes[i]} : !llvm.ptr<3>, !llvm.ptr<1>, i32')
        e(f'nvvm.cp.async.mbarrier.arrive {fb} {{noinc = true}} : !llvm.ptr<3>')
        e(f'scf.if {is0} {{')
    src_a = e.gep('%A', e.add(abase, e.mul(e.ext('%k'), plane, 'i64'), 'i64'), 1)
    src_b = e.gep('%W', e.add(wbase, e.mul(e.ext('%k'), e.i64(B_BYTES), 'i64'), 'i64'), 1)
    sca, scb = [e.v(f'llvm.addrspacecast {x} : !llvm.ptr<3> to !llvm.ptr<7>') for x in (sa, sb)]
    if not gather:
        e(f'nvvm.cp.async.bulk.shared.cluster.global {sca}, {src_a}, {fb}, {e.i32(A_BYTES)} : !llvm.ptr<7>, !llvm.ptr<1>')
    e(f'nvvm.cp.async.bulk.shared.cluster.global {scb}, {src_b}, {fb}, {e.i32(B_BYTES)} : !llvm.ptr<7>, !llvm.ptr<1>')
    if gather:
        e('}')
    ns, np_ = advance('%s', '%ph')
    e(f'scf.yield {ns}, {np_} : i32, i32')
    e('}')
    e('scf.yield %q#0, %q#1 : i32, i32')
    e('}')
    if not gather:
        e('}')
    e('} else {')
    # ---- consumers
    e(f'nvvm.setmaxregister increase {(224 if gather else 232) + (8 if bug == "registers" else 0)}')
    cwg = e.op('sub', wg, one)
    lane = e.op('and', tid, e.i32(31))
    warp = e.op('and', e.op('lshr', tid, e.i32(5)), e.i32(3))
    wtid = e.op('and', tid, e.i32(127))
    leader = e.v(f'llvm.icmp "eq" {wtid}, {z} : i32')
    lane0 = e.v(f'llvm.icmp "eq" {lane}, {z} : i32')  # each warp releases a stage for itself: waiting is a warp's own
    if bug == 'leader_release':
        lane0 = leader
    s64 = e.v(f'llvm.ptrtoint {smem} : !llvm.ptr<3> to i32')
    hi = e.i64((1 << 62 if bug != 'no_swizzle' else 0) | ((1024 if bug != 'wrong_sbo' else 512) >> 4) << 32 | 1 << 16)

    def descriptor(addr32):
        d = e.op('and', e.op('lshr', addr32, e.i32(4)), e.i32(0x3fff))
        return e.op('or', e.v(f'llvm.zext {d} : i32 to i64'), hi, 'i64')

    zero = e.v('llvm.mlir.constant(0.0 : f32) : f32')
    acc0 = e.v(f'llvm.mlir.poison : {S}')
    for i in range(REGS):
        acc0 = e.v(f'llvm.insertvalue {zero}, {acc0}[{i}] : {S}')
    e(f'%c:2 = scf.for %t = {cta} to {total} step {ncta} iter_args(%cs = {z}, %cp = {z}) -> (i32, i32) : i32 {{')
    g, n, r0, rows = tile_fields('%t')
    e(f'%m:4 = scf.for %k = {z} to {kt_c} step {one} iter_args(%acc = {acc0}, %s = %cs, %ph = %cp, %last = %cs) -> ({S}, i32, i32, i32) : i32 {{')
    if bug != 'no_full_wait':
        par = '%ph' if bug != 'wrong_parity' else e.op('xor', '%ph', one)
        e(f'nvvm.mbarrier.try_wait.parity {bar_at(fullb, "%s")}, {par}, {ticks} : !llvm.ptr<3>, i32, i32')
    base = e.add(s64, e.mul('%s', e.i32(STAGE)))
    da = descriptor(e.add(base, e.mul(cwg, e.i32(64 * 128))))
    db = descriptor(e.add(base, e.i32(A_BYTES)))
    if gather and bug != 'no_consumer_fence':  # cp.async writes through the generic proxy
        e('nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}')
    if bug != 'no_wgmma_fence':
        e('nvvm.wgmma.fence.aligned')
    acc = '%acc'
    for kk in range(4):
        step = e.i64(kk * (2 if bug != 'kstep' else 4))
        a, b = e.add(da, step, 'i64'), e.add(db, step, 'i64')
        acc = e.v(f'nvvm.wgmma.mma_async {a}, {b}, {acc}, <m = 64, n = {BN}, k = 16>, D [#nvvm.wgmma_type<f32>, #nvvm.wgmma_scale_out<one>], '
                  f'A [#nvvm.wgmma_type<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<row>], '
                  f'B [#nvvm.wgmma_type<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<col>] : {S} -> {S}')
    e('nvvm.wgmma.commit.group.sync.aligned')
    e(f'nvvm.wgmma.wait.group.sync.aligned {1 if bug != "no_wgmma_wait" else 4}')
    # the batch before this one is complete: its stage may be filled again
    first = e.v(f'llvm.icmp "ne" %k, {z} : i32')
    rel = e.v(f'llvm.and {first}, {lane0} : i1')
    rs = '%last' if bug != 'early_release' else '%s'
    e(f'scf.if {rel} {{')
    e(f'%st{e.n} = nvvm.mbarrier.arrive {bar_at(emptyb, rs)} : !llvm.ptr<3> -> i64')
    e('}')
    ns, np_ = advance('%s', '%ph')
    e(f'scf.yield {acc}, {ns}, {np_}, %s : {S}, i32, i32, i32')
    e('}')
    if bug != 'no_wgmma_wait':
        e('nvvm.wgmma.wait.group.sync.aligned 0')
    if bug == 'early_release':
        e(f'scf.if {e.v("llvm.mlir.constant(false) : i1")} {{')
    else:
        e(f'scf.if {lane0} {{')
    e(f'%se{e.n} = nvvm.mbarrier.arrive {bar_at(emptyb, "%m#3")} : !llvm.ptr<3> -> i64')
    e('}')
    if bug == 'no_acc_fence':
        d = '%m#0'
    else:  # ties the values to this place: nothing that uses them may move above the wait
        cons = ','.join(['=f'] * REGS + [str(i) for i in range(REGS)] + ['~{memory}'])
        vals = [e.v(f'llvm.extractvalue %m#0[{i}] : {S}') for i in range(REGS)]
        d = e.v(f'llvm.inline_asm has_side_effects "", "{cons}" {", ".join(vals)} : ({", ".join(["f32"] * REGS)}) -> {S}')
    # ---- epilogue: this thread has rows 16 warp + lane/4 (+8), columns 8 j + 2 (lane%4) + {0, 1}
    col0 = e.mul(n, e.i32(BN))
    quad = e.op('and', lane, e.i32(3))
    rloc = e.add(e.mul(warp, e.i32(16)), e.op('lshr', lane, e.i32(2)))
    wrow = e.mul(cwg, e.i32(64))
    left = e.op('sub', rows, wrow)  # valid rows of this warpgroup, may be <= 0 or > 64
    if out == 'rows':
        for h in range(2):
            r = e.add(rloc, e.i32(8 * h))
            ok = e.v(f'llvm.icmp "slt" {r}, {left} : i32') if bug != 'n_rows_past' else e.v('llvm.mlir.constant(true) : i1')
            e(f'scf.if {ok} {{')
            grow = e.add(e.add(r0, wrow), r)
            dst = e.v(f'llvm.load {e.gep("%scatter", e.ext(e.mul(grow, e.i32(4))), 1)} : !llvm.ptr<1> -> i32')
            rowp = e.gep('%out', e.mul(e.ext(dst), e.i64(4 * N), 'i64'), 1)
            cbase = e.mul(e.ext(e.add(col0, e.mul(quad, two))), e.i64(4), 'i64')
            rowp = e.gep(rowp, cbase, 1)
            bp = e.gep('%bias', e.add(cbase, e.mul(e.ext(g), e.i64(4 * N), 'i64'), 'i64'), 1)
            for j in range(BN // 8):
                o = e.i64(32 * j)
                bv = e.v(f'llvm.load {e.gep(bp, o, 1)} : !llvm.ptr<1> -> vector<2xf32>')
                x = [e.v(f'llvm.extractvalue {d}[{4 * j + 2 * h + i}] : {S}') for i in range(2)]
                v = e.v('llvm.mlir.poison : vector<2xf32>')
                for i in range(2):
                    v = e.v(f'llvm.insertelement {x[i]}, {v}[{e.i32(i)} : i32] : vector<2xf32>')
                v = e.v(f'llvm.fadd {v}, {bv} : vector<2xf32>')
                e(f'llvm.store {v}, {e.gep(rowp, o, 1)} : vector<2xf32>, !llvm.ptr<1>')
            e('}')
    else:
        any_ = e.v(f'llvm.icmp "sgt" {left}, {z} : i32')
        capped = e.v(f'llvm.select {e.v(f"llvm.icmp {chr(34)}slt{chr(34)} {left}, {e.i32(64)} : i32")}, {left}, {e.i32(64)} : i1, i32')
        rows8 = e.op('and', e.add(capped, e.i32(7)), e.i32(-8))
        bytes_ = e.mul(rows8, e.i32(128))
        bias_p = e.gep('%bias', e.mul(e.ext(e.add(e.mul(g, e.i32(N)), e.add(col0, e.mul(quad, two)))), e.i64(4), 'i64'), 1)
        barrier_id, bar_n = e.add(cwg, one), e.i32(128)
        plane = e.mul(e.ext('%row_stride'), e.i64(128), 'i64')
        orow = e.mul(e.ext(e.add(r0, wrow)), e.i64(128), 'i64')
        # stmatrix x4: matrix i of lane group i = lane/8: rows 0-7 / 8-15 of the warp's 16, columns 16 jj + {0, 8}
        mrow = e.add(e.mul(warp, e.i32(16)), e.add(e.op('and', lane, e.i32(7)), e.mul(e.op('and', e.op('lshr', lane, e.i32(3)), one), e.i32(8))))
        mcol = e.op('lshr', lane, e.i32(4))  # 0 or 1: which 16-byte piece of the pair
        sw = e.op('and', lane, e.i32(7))
        for c in range(BN // 64):
            stg = e.sgep(smem, e.add(e.i32(stages * STAGE + (c % 2) * 8192), e.mul(cwg, e.i32(16384))))
            if bug != 'no_store_wait':
                e(f'scf.if {leader} {{')
                e(f'nvvm.cp.async.bulk.wait_group {0 if c == 0 and BN // 64 % 2 else 1} {{read}}')  # an odd number of chunks: the last used this buffer
                e('}')
            e(f'nvvm.barrier id = {barrier_id} number_of_threads = {bar_n}')
            for jj in range(4):
                packed = []
                for half in range(2):  # columns +0, +8
                    j = c * 8 + jj * 2 + half
                    bv = e.v(f'llvm.load {e.gep(bias_p, e.i64(32 * j), 1)} : !llvm.ptr<1> -> vector<2xf32>')
                    b = [e.v(f'llvm.extractelement {bv}[{e.i32(i)} : i32] : vector<2xf32>') for i in range(2)]
                    for h in range(2):  # rows +0, +8
                        x = []
                        for i in range(2):
                            y = e.v(f'llvm.fadd {e.v(f"llvm.extractvalue {d}[{4 * j + 2 * h + i}] : {S}")}, {b[i]} : f32')
                            x.append(e.v(f'llvm.intr.maxnum({y}, {zero}) : (f32, f32) -> f32'))
                        v = e.v('llvm.mlir.poison : vector<2xf32>')
                        for i in range(2):
                            v = e.v(f'llvm.insertelement {x[i]}, {v}[{e.i32(i)} : i32] : vector<2xf32>')
                        w = e.v(f'llvm.fptrunc {v} : vector<2xf32> to vector<2xbf16>')
                        packed.append(e.v(f'llvm.bitcast {w} : vector<2xbf16> to i32'))
                piece = e.op('xor', e.add(e.i32(2 * jj), mcol), sw)
                a = e.sgep(stg, e.add(e.mul(mrow, e.i32(128)), e.mul(piece, e.i32(16))))
                e(f'nvvm.stmatrix {a}, {", ".join(packed)} {{layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, '
                  f'eltType = #nvvm.ld_st_matrix_elt_type<b16>}} : !llvm.ptr<3>, i32, i32, i32, i32')
            if bug != 'no_proxy_fence':
                e('nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}')
            e(f'nvvm.barrier id = {barrier_id} number_of_threads = {bar_n}')
            go = e.v(f'llvm.and {leader}, {any_} : i1')
            e(f'scf.if {go} {{')
            pl = e.add(e.mul(e.ext(e.add(e.mul(n, e.i32(BN // 64)), e.i32(c))), plane, 'i64'), orow, 'i64')
            e(f'nvvm.cp.async.bulk.global.shared.cta {e.gep("%out", pl, 1)}, {stg}, {bytes_} : !llvm.ptr<1>, !llvm.ptr<3>')
            e('}')
            e(f'scf.if {leader} {{')
            e('nvvm.cp.async.bulk.commit.group')
            e('}')
    e('scf.yield %m#1, %m#2 : i32, i32')
    e('}')
    if out == 'planes':
        e(f'scf.if {leader} {{')
        e('nvvm.cp.async.bulk.wait_group 0')
        e('}')
    e('}')
    e('llvm.return')
    e.ind = 1
    e('}')
    return '\n'.join(e.lines), BARS + 16 * stages
