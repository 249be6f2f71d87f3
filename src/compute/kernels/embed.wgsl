// The vectors that a batch computes with: rows of a table gathered, dropped out and scaled to length 1.
//
// Roofline: bound by memory, 8·dim bytes a row. A workgroup makes one row.

struct Params {
    count: u32,       // rows to make
    quads: u32,       // vec4s per row
    key: u32,         // of the dropout
    dropout: f32,
    cosine: u32,      // 1: scale to length 1
    width: u32,       // floats between rows of `across`; 0: leave it alone
    first: u32,       // row of this dispatch's first workgroup
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<f32>>;      // [table rows, quads]
@group(0) @binding(2) var<storage, read> ids: array<vec2<u32>>;        // [count]: (row here, row that dropout knows it by)
@group(0) @binding(3) var<storage, read_write> rows: array<vec4<f32>>; // [count, quads]
@group(0) @binding(4) var<storage, read_write> across: array<f32>;     // [4·quads, width]: the rows, transposed

const THREADS: u32 = 64u;
alias Sum = f32;

@compute @workgroup_size(THREADS)
fn embed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = params.first + group.x;
    let source = ids[row].x * params.quads;
    let id = ids[row].y;
    var squares = 0.0;
    for (var q = thread; q < params.quads; q += THREADS) {
        var x = table[source + q];
        if params.dropout > 0.0 {
            x *= vec4<f32>(kept(id, 4u * q), kept(id, 4u * q + 1u), kept(id, 4u * q + 2u), kept(id, 4u * q + 3u));
        }
        squares += dot(x, x);
        rows[row * params.quads + q] = x;
    }
    var scale = 1.0;
    if params.cosine == 1u {
        scale = 1.0 / sqrt(reduce(thread, squares) + 1e-12);
    }
    for (var q = thread; q < params.quads; q += THREADS) {
        let x = rows[row * params.quads + q] * scale;
        rows[row * params.quads + q] = x;
        if params.width > 0u {
            across[(4u * q) * params.width + row] = x.x;
            across[(4u * q + 1u) * params.width + row] = x.y;
            across[(4u * q + 2u) * params.width + row] = x.z;
            across[(4u * q + 3u) * params.width + row] = x.w;
        }
    }
}
