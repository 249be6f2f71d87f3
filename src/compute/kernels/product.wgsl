// out = left · right, or out += left · right.
//
// Roofline: 2·rows·columns·depth flops: bound by arithmetic. A workgroup makes a tile of 64 rows × 16 vec4s, a thread
// 4 rows × 1 vec4 of it; both factors pass through shared memory 16 deep. Sums run over the depth in order.

struct Params {
    rows: u32,          // of `out`
    depth: u32,
    quads: u32,         // vec4s per row of `right` and `out`
    row_stride: u32,    // element (row, k) of `left` lies at row · row_stride + k · depth_stride
    depth_stride: u32,
    add: u32,           // 1: add to what `out` holds
    first_row: u32,     // of this dispatch, a multiple of 64
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;     // [depth, quads]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [rows, quads]

const DEEP: u32 = 16u;
const TALL: u32 = 64u;
var<workgroup> a: array<f32, 1024>;      // [DEEP, TALL]
var<workgroup> b: array<vec4<f32>, 256>; // [DEEP, 16]

@compute @workgroup_size(16, 16)
fn multiply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first = params.first_row + group.y * TALL;
    let quad = group.x * 16u + local.x;
    var sum: array<vec4<f32>, 4>;
    for (var base = 0u; base < params.depth; base += DEEP) {
        for (var i = 0u; i < 4u; i++) {
            let at = i * 256u + thread;
            // Whichever way the left factor lies, neighbouring threads read neighbouring elements.
            var k = at / TALL;
            var r = at % TALL;
            if params.depth_stride == 1u {
                k = at % DEEP;
                r = at / DEEP;
            }
            var value = 0.0;
            if first + r < params.rows && base + k < params.depth {
                value = left[(first + r) * params.row_stride + (base + k) * params.depth_stride];
            }
            a[k * TALL + r] = value;
        }
        var value = vec4<f32>();
        if base + local.y < params.depth && quad < params.quads {
            value = right[(base + local.y) * params.quads + quad];
        }
        b[local.y * 16u + local.x] = value;
        workgroupBarrier();
        for (var k = 0u; k < DEEP; k++) {
            let v = b[k * 16u + local.x];
            let at = k * TALL + 4u * local.y;
            sum[0] = fma(vec4<f32>(a[at]), v, sum[0]);
            sum[1] = fma(vec4<f32>(a[at + 1u]), v, sum[1]);
            sum[2] = fma(vec4<f32>(a[at + 2u]), v, sum[2]);
            sum[3] = fma(vec4<f32>(a[at + 3u]), v, sum[3]);
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < 4u; r++) {
        let row = first + 4u * local.y + r;
        if row < params.rows && quad < params.quads {
            let at = row * params.quads + quad;
            if params.add == 1u {
                out[at] += sum[r];
            } else {
                out[at] = sum[r];
            }
        }
    }
}
