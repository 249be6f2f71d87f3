// Part of kernels that drop elements out, going in and coming back: both must drop the same. `params` has its key and share.

fn scramble(value: u32) -> u32 {
    var x = value;
    x = (x ^ (x >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

// 0 for a dropped element, otherwise what makes up for the dropped ones.
fn kept(row: u32, column: u32) -> f32 {
    let bits = scramble(scramble(params.key ^ (row * 0x9e3779b9u)) ^ column);
    return select(1.0 / (1.0 - params.dropout), 0.0, f32(bits >> 8u) < params.dropout * 16777216.0);
}

