// Losses of a batch and their slopes: a workgroup turns one sample's logits against the negatives into the loss's slope
// at each of them. The logits come from `product`, and so do the gradients that the slopes give.
//
// Roofline: bound by memory, 8 to 16 bytes a logit.

struct Params {
    samples: u32,
    negatives: u32,
    width: u32,        // floats between rows of `logits`; those beyond `negatives` are padding
    quads: u32,        // vec4s per vector
    loss: u32,         // 0 softmax, 1 logistic, 2 squared, 3 BPR, 4 contrastive
    first: f32,        // parameters of the loss: temperature, weight, weight, –, margin
    second: f32,       // power, –, –, –, weight
    first_sample: u32, // of this dispatch
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> users: array<vec4<f32>>;         // [samples, quads]
// [samples, quads]: the items' vectors; afterwards times the slope, which is what they give to the users' gradients.
@group(0) @binding(2) var<storage, read_write> items: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> samples: array<vec4<u32>>;       // (item, bits of the weight, bits of the target, –)
@group(0) @binding(4) var<storage, read> negatives: array<vec2<u32>>;     // (item, bits of the correction)
@group(0) @binding(5) var<storage, read_write> logits: array<f32>;        // [samples, width]
@group(0) @binding(6) var<storage, read_write> outcome: array<vec2<f32>>; // (slope at the positive logit, weighted loss)

const THREADS: u32 = 64u;
const MASKED: f32 = -1e30;
alias Sum = f32;

fn max_all(thread: u32, value: f32) -> f32 {
    workgroupBarrier();
    partial[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            partial[thread] = max(partial[thread], partial[thread + half]);
        }
        workgroupBarrier();
    }
    return partial[0];
}

// log(1 + e^x) and its slope.
fn soft(x: f32) -> vec2<f32> {
    let e = exp(-abs(x));
    return vec2<f32>(max(x, 0.0) + log(1.0 + e), select(e, 1.0, x >= 0.0) / (1.0 + e));
}

@compute @workgroup_size(THREADS)
fn slopes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let sample = params.first_sample + group.x;
    let own = samples[sample].x;
    let weight = bitcast<f32>(samples[sample].y);
    let goal = bitcast<f32>(samples[sample].z);
    let scale = weight / f32(params.samples);
    let row = sample * params.width;
    let count = f32(params.negatives);

    var dots = 0.0;
    for (var q = thread; q < params.quads; q += THREADS) {
        dots += dot(users[sample * params.quads + q], items[sample * params.quads + q]);
    }
    let positive = reduce(thread, dots);
    let inverse = 1.0 / params.first;

    // What is no negative of this sample is masked; padding is too.
    var most = MASKED;
    for (var j = thread; j < params.width; j += THREADS) {
        var s = select(MASKED, 0.0, params.loss == 2u);
        if j < params.negatives && negatives[j].x != own {
            s = logits[row + j];
            if params.loss == 0u {
                s = s * inverse + bitcast<f32>(negatives[j].y);
            }
        }
        logits[row + j] = s;
        most = max(most, s);
    }

    var slope = 0.0;
    var value = 0.0;
    switch params.loss {
        case 0u: {
            let top = max_all(thread, most);
            var sum = 0.0;
            for (var j = thread; j < params.width; j += THREADS) {
                let s = logits[row + j];
                let e = select(0.0, exp(s - top), s > MASKED);
                logits[row + j] = e;
                sum += e;
            }
            let total = reduce(thread, sum);
            var log_sum = 0.0;
            var by = 0.0;
            if top > MASKED {
                log_sum = top + log(total);
                by = scale * params.second * inverse / total;
            }
            for (var j = thread; j < params.width; j += THREADS) {
                logits[row + j] *= by;
            }
            slope = -scale * inverse;
            value = params.second * log_sum - positive * inverse;
        }
        case 1u, 3u: {
            let is_bpr = params.loss == 3u;
            let each = select(params.first, 1.0, is_bpr) / count;
            let shift = select(0.0, positive, is_bpr);
            var found = vec2<f32>();
            for (var j = thread; j < params.width; j += THREADS) {
                let s = logits[row + j];
                var at = vec2<f32>();
                if s > MASKED {
                    at = soft(s - shift);
                }
                logits[row + j] = each * scale * at.y;
                found += at;
            }
            let losses = reduce(thread, found.x);
            let slopes = reduce(thread, found.y);
            if is_bpr {
                slope = -each * scale * slopes;
                value = each * losses;
            } else {
                let at = soft(-positive);
                slope = -scale * at.y;
                value = at.x + each * losses;
            }
        }
        case 2u: {
            let each = params.first / count;
            var squares = 0.0;
            for (var j = thread; j < params.width; j += THREADS) {
                let s = logits[row + j];
                squares += s * s;
                logits[row + j] = 2.0 * each * scale * s;
            }
            let miss = positive - goal;
            slope = 2.0 * scale * miss;
            value = miss * miss + each * reduce(thread, squares);
        }
        default: {
            let each = params.second / count;
            var over = 0.0;
            for (var j = thread; j < params.width; j += THREADS) {
                let s = logits[row + j] - params.first;
                over += max(s, 0.0);
                logits[row + j] = select(0.0, each * scale, s > 0.0);
            }
            slope = -scale;
            value = 1.0 - positive + each * reduce(thread, over);
        }
    }
    for (var q = thread; q < params.quads; q += THREADS) {
        items[sample * params.quads + q] *= slope;
    }
    if thread == 0u {
        outcome[sample] = vec2<f32>(slope, weight * value);
    }
}
