// Partial Gram matrices of row splits, then their sum in split order: total = YᵀY + λI.
//
// Roofline: 2·rows·dim² flops over 4·rows·dim bytes, dim/2 flops per byte: bound by arithmetic from about
// dim = 32 up. Each workgroup holds a 64 × 64 tile, 4 × 4 per thread, and reads 8 floats from shared memory
// for 16 multiply-adds. Tiles below the diagonal are mirrored, not computed.

struct Params {
    start: u32,          // rows of `table` in this dispatch: [start, end)
    end: u32,
    rows_per_split: u32,
    splits: u32,         // in this dispatch
    quads: u32,          // vec4s per row
    dim: u32,            // columns that are not padding
    first: u32,          // 1: `total` starts from zero
    last: u32,           // 1: add λ to the diagonal
    lambda: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<f32>>;        // [rows, quads]
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;     // [splits, 4·quads, 4·quads]
@group(0) @binding(3) var<storage, read_write> total: array<f32>;        // [4·quads, 4·quads]

const SIDE: u32 = 16u;
var<workgroup> left: array<vec4<f32>, 256>;
var<workgroup> right: array<vec4<f32>, 256>;

@compute @workgroup_size(16, 16)
fn partial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tiles = (params.quads + SIDE - 1u) / SIDE;
    let tile_i = group.x / tiles;
    let tile_j = group.x % tiles;
    if tile_j < tile_i {
        return;
    }
    let quad_i = tile_i * SIDE + local.x;
    let quad_j = tile_j * SIDE + local.x;
    let start = params.start + group.y * params.rows_per_split;
    let end = min(start + params.rows_per_split, params.end);

    var sum: array<vec4<f32>, 4>;
    for (var base = start; base < end; base += SIDE) {
        let row = base + local.y;
        let slot = local.y * SIDE + local.x;
        var a = vec4<f32>();
        var b = vec4<f32>();
        if row < end {
            if quad_i < params.quads {
                a = table[row * params.quads + quad_i];
            }
            if quad_j < params.quads {
                b = table[row * params.quads + quad_j];
            }
        }
        left[slot] = a;
        right[slot] = b;
        workgroupBarrier();
        for (var r = 0u; r < SIDE; r++) {
            let l = left[r * SIDE + local.y];
            let v = right[r * SIDE + local.x];
            sum[0] = fma(vec4<f32>(l.x), v, sum[0]);
            sum[1] = fma(vec4<f32>(l.y), v, sum[1]);
            sum[2] = fma(vec4<f32>(l.z), v, sum[2]);
            sum[3] = fma(vec4<f32>(l.w), v, sum[3]);
        }
        workgroupBarrier();
    }

    let side = 4u * params.quads;
    let i = 4u * (tile_i * SIDE + local.y);
    let j = 4u * quad_j;
    if i < side && j < side {
        for (var r = 0u; r < 4u; r++) {
            let at = (group.y * side + i + r) * side + j;
            partials[at] = sum[r].x;
            partials[at + 1u] = sum[r].y;
            partials[at + 2u] = sum[r].z;
            partials[at + 3u] = sum[r].w;
        }
    }
}

@compute @workgroup_size(64)
fn reduce(@builtin(global_invocation_id) id: vec3<u32>) {
    let side = 4u * params.quads;
    if id.x >= side * side {
        return;
    }
    let row = id.x / side;
    let column = id.x % side;
    let mirrored = column / 64u < row / 64u;
    let i = select(row, column, mirrored);
    let j = select(column, row, mirrored);
    var sum = 0.0;
    if params.first == 0u {
        sum = total[id.x];
    }
    for (var split = 0u; split < params.splits; split++) {
        sum += partials[(split * side + i) * side + j];
    }
    if params.last == 1u && row == column && row < params.dim {
        sum += params.lambda;
    }
    total[id.x] = sum;
}
