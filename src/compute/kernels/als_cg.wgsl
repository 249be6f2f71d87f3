// One half of implicit-feedback ALS: one workgroup solves one row by conjugate gradients, matrix-free.
//   (YᵀY + λI + Σ (c−1) y yᵀ) x = Σ c y,   c − 1 = entries.y
//
// Roofline: a step reads 4·(dim + 2) bytes per entry twice (the second time from cache) for 4·dim flops, and
// dim² of the Gram matrix from cache: bound by memory bandwidth. Dot products take a thread per entry, sums PARTS
// threads per vec4 of columns, each every PARTS-th entry, in an order that depends on the data alone, and so do the bits.

struct Params {
    rows: u32,       // in this dispatch
    first_row: u32,
    offset: u32,     // row of `solution` that row 0 is
    steps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<f32>>;       // [rows of the fixed side, QUADS]
@group(0) @binding(2) var<storage, read> gram: array<vec4<f32>>;        // [4·QUADS, QUADS], with λ
@group(0) @binding(3) var<storage, read> indptr: array<u32>;            // [rows + 1]
@group(0) @binding(4) var<storage, read> entries: array<vec2<u32>>;     // [nnz] (row of table, bits of c − 1)
@group(0) @binding(5) var<storage, read_write> solution: array<vec4<f32>>; // [offset + rows, QUADS]

override QUADS: u32 = 16u;
override THREADS: u32 = 64u;
override PARTS: u32 = 4u;            // THREADS / QUADS, at least 1
override SUMS: u32 = 64u;            // PARTS · QUADS

var<workgroup> direction: array<vec4<f32>, QUADS>;
var<workgroup> residual: array<vec4<f32>, QUADS>;
var<workgroup> product: array<vec4<f32>, QUADS>;
var<workgroup> sums: array<vec4<f32>, SUMS>; // [PARTS, QUADS]
var<workgroup> scale: array<f32, THREADS>;
alias Sum = f32;

// product = A · direction − shift · b
fn apply(thread: u32, start: u32, end: u32, shift: f32) {
    workgroupBarrier();
    for (var q = thread; q < QUADS; q += THREADS) {
        var sum = vec4<f32>();
        for (var j = 0u; j < QUADS; j++) {
            let d = direction[j];
            let at = 4u * j * QUADS + q;
            sum = fma(vec4<f32>(d.x), gram[at], sum);
            sum = fma(vec4<f32>(d.y), gram[at + QUADS], sum);
            sum = fma(vec4<f32>(d.z), gram[at + 2u * QUADS], sum);
            sum = fma(vec4<f32>(d.w), gram[at + 3u * QUADS], sum);
        }
        product[q] = sum;
    }
    for (var slot = thread; slot < SUMS; slot += THREADS) {
        sums[slot] = vec4<f32>();
    }
    for (var base = start; base < end; base += THREADS) {
        if base + thread < end {
            let entry = entries[base + thread];
            let weight = bitcast<f32>(entry.y);
            var dots = vec4<f32>();
            for (var q = 0u; q < QUADS; q++) {
                dots = fma(table[entry.x * QUADS + q], direction[q], dots);
            }
            let projection = (dots.x + dots.z) + (dots.y + dots.w);
            scale[thread] = weight * projection - shift * (1.0 + weight);
        }
        workgroupBarrier();
        let count = min(THREADS, end - base);
        for (var slot = thread; slot < SUMS; slot += THREADS) {
            let q = slot % QUADS;
            var sum = vec4<f32>();
            for (var n = slot / QUADS; n < count; n += PARTS) {
                sum = fma(vec4<f32>(scale[n]), table[entries[base + n].x * QUADS + q], sum);
            }
            sums[slot] += sum;
        }
        workgroupBarrier();
    }
    for (var q = thread; q < QUADS; q += THREADS) {
        var sum = vec4<f32>();
        for (var part = 0u; part < PARTS; part++) {
            sum += sums[part * QUADS + q];
        }
        product[q] += sum;
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn solve(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = params.first_row + group.x;
    let start = indptr[row];
    let end = indptr[row + 1u];
    let place = (params.offset + row) * QUADS;
    if start == end {
        for (var q = thread; q < QUADS; q += THREADS) {
            solution[place + q] = vec4<f32>();
        }
        return;
    }

    for (var q = thread; q < QUADS; q += THREADS) {
        direction[q] = solution[place + q];
    }
    apply(thread, start, end, 1.0);
    var local = 0.0;
    for (var q = thread; q < QUADS; q += THREADS) {
        let r = -product[q];
        residual[q] = r;
        local += dot(r, r);
    }
    var norm = reduce(thread, local);
    for (var q = thread; q < QUADS; q += THREADS) {
        direction[q] = residual[q];
    }

    for (var step = 0u; step < params.steps; step++) {
        apply(thread, start, end, 0.0);
        local = 0.0;
        for (var q = thread; q < QUADS; q += THREADS) {
            local += dot(direction[q], product[q]);
        }
        let curvature = reduce(thread, local);
        // A solved row stays as it is; barriers need uniform control flow, so no early return.
        let go = norm > 1e-20 && curvature > 0.0;
        let alpha = select(0.0, norm / curvature, go);
        local = 0.0;
        for (var q = thread; q < QUADS; q += THREADS) {
            solution[place + q] += alpha * direction[q];
            let r = residual[q] - alpha * product[q];
            residual[q] = r;
            local += dot(r, r);
        }
        let next = reduce(thread, local);
        let beta = select(0.0, next / norm, go);
        for (var q = thread; q < QUADS; q += THREADS) {
            direction[q] = residual[q] + beta * direction[q];
        }
        norm = select(norm, next, go);
    }
}
