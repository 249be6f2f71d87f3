// A step of the optimiser: moves the rows of a batch by their gradients.
//
// Roofline: bound by memory, up to 28·dim bytes a row (table, gradient and two moments). A workgroup moves one row.

struct Params {
    rows: u32,
    quads: u32,       // vec4s per row
    optimizer: u32,   // 0 SGD, 1 Adagrad, 2 Adam
    rate: f32,
    l2: f32,
    l1: f32,
    first: u32,       // row of this dispatch's first workgroup
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> table: array<vec4<f32>>;  // [table rows, quads]
// Optimiser state beside the table, one vec4 long where the optimiser keeps none.
@group(0) @binding(2) var<storage, read_write> first: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> second: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gradient: array<vec4<f32>>;     // [rows, quads]
@group(0) @binding(5) var<storage, read> plan: array<u32>;               // rows of `table` [rows], and more
@group(0) @binding(6) var<storage, read> scales: array<vec2<f32>>;       // [rows]: Adam's corrections

const THREADS: u32 = 64u;
const EPSILON: f32 = 1e-8;

@compute @workgroup_size(THREADS)
fn move_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = params.first + group.x;
    let base = plan[row] * params.quads;
    let scale = scales[row];
    for (var q = thread; q < params.quads; q += THREADS) {
        let at = base + q;
        var x = table[at];
        let g = fma(vec4<f32>(params.l2), x, gradient[row * params.quads + q]);
        var direction = g;
        if params.optimizer == 1u {
            let sum = fma(g, g, first[at]);
            first[at] = sum;
            direction = g / (sqrt(sum) + EPSILON);
        } else if params.optimizer == 2u {
            let m = fma(g, vec4<f32>(0.1), first[at] * 0.9);
            let v = fma(g * g, vec4<f32>(0.001), second[at] * 0.999);
            first[at] = m;
            second[at] = v;
            direction = m * scale.x / (sqrt(v * scale.y) + EPSILON);
        }
        x = fma(vec4<f32>(-params.rate), direction, x);
        if params.l1 > 0.0 {
            let shrink = vec4<f32>(params.rate * params.l1);
            x = max(x - shrink, vec4<f32>()) + min(x + shrink, vec4<f32>());
        }
        table[at] = x;
    }
}
