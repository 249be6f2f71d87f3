// Gradients of a table's rows: what a batch's occurrences of a row add up to, taken back through scaling and dropout.
//
// Roofline: bound by memory, 4·dim bytes an occurrence. A workgroup makes one row; its occurrences are added in the order
// of the batch, in runs, so there are no atomics and the bits are the same in every run.

struct Params {
    rows: u32,
    samples: u32,     // places below it are samples, those above it negatives
    is_users: u32,    // 1: places are samples, and `from_samples` holds gradients; 0: it holds the users' vectors
    quads: u32,       // vec4s per row
    key: u32,         // of the dropout
    dropout: f32,
    cosine: u32,      // 1: vectors were scaled to length 1
    first: u32,       // row of this dispatch's first workgroup
}

@group(0) @binding(0) var<uniform> params: Params;
// Rows of `table` [rows], ids that dropout knows them by [rows], starts [rows + 1], then occurrences.
@group(0) @binding(1) var<storage, read> plan: array<u32>;
@group(0) @binding(2) var<storage, read> from_samples: array<vec4<f32>>;   // [samples, quads]
@group(0) @binding(3) var<storage, read> outcome: array<vec2<f32>>;        // (slope at the positive logit, loss)
@group(0) @binding(4) var<storage, read> from_negatives: array<vec4<f32>>; // [negatives, quads]
@group(0) @binding(5) var<storage, read> table: array<vec4<f32>>;          // [table rows, quads]
@group(0) @binding(6) var<storage, read_write> gradient: array<vec4<f32>>; // [rows, quads]

override THREADS: u32 = 64u;             // a power of two, at least quads
const RUN: u32 = 64u;
alias Sum = vec2<f32>;

@compute @workgroup_size(THREADS)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = params.first + group.x;
    let id = plan[params.rows + row];
    let start = plan[2u * params.rows + row];
    let end = plan[2u * params.rows + row + 1u];
    let places = 3u * params.rows + 1u;
    let mine = thread < params.quads;

    var sum = vec4<f32>();
    if mine {
        for (var base = start; base < end; base += RUN) {
            var run = vec4<f32>();
            for (var at = base; at < min(base + RUN, end); at++) {
                let place = plan[places + at];
                if params.is_users == 1u {
                    run += from_samples[place * params.quads + thread];
                } else if place < params.samples {
                    let slope = vec4<f32>(outcome[place].x);
                    run = fma(slope, from_samples[place * params.quads + thread], run);
                } else {
                    run += from_negatives[(place - params.samples) * params.quads + thread];
                }
            }
            sum += run;
        }
    }
    var keep = vec4<f32>(1.0);
    if params.dropout > 0.0 {
        let q = 4u * thread;
        keep = vec4<f32>(kept(id, q), kept(id, q + 1u), kept(id, q + 2u), kept(id, q + 3u));
    }
    if params.cosine == 1u {
        var x = vec4<f32>();
        if mine {
            x = table[plan[row] * params.quads + thread] * keep;
        }
        // d(x/|x|) = (g − (g·y) y) / |x| with y = x/|x|.
        let found = reduce(thread, vec2<f32>(dot(x, x), dot(sum, x)));
        let inverse = 1.0 / sqrt(found.x + 1e-12);
        sum = (sum - found.y * inverse * inverse * x) * inverse;
    }
    if mine {
        gradient[row * params.quads + thread] = sum * keep;
    }
}
