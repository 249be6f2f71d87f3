// The best k items of many users against a span of items: score, threshold and select in one pass; scores are never
// written. A workgroup serves 64 users and scores ITEMS items at a time, 8 × 8 per thread in registers.
//
// Roofline: 2·users·items·dim flops over 4·items·dim bytes per 64 users: bound by arithmetic once items come from cache.
// Vectors lie in panels of 64, [depth, 64], and pass through shared memory DEEP deep; a thread reads 16 floats there for 64
// multiply-adds. Sums run over the depth in order, as in the CPU's twin.
//
// Candidates hold an order-preserving integer image of the score, so sorting is exact and NaN is told apart by its bits.
// Slots are handed out by an integer atomic; the order of a list comes from sorting alone, so it is the same in every run.
// A list is cut down to its best k before it could overflow.

struct Params {
    users: u32,
    depth: u32,        // floats of a vector, a multiple of DEEP
    first_item: u32,   // span scored by this dispatch: [first_item, end_item); the first is a multiple of ITEMS
    end_item: u32,
    id_offset: u32,    // id of the chunk's first item
    k: u32,
    floor_key: u32,    // keys must be greater
    fresh: u32,        // 1: start from empty lists
    last: u32,         // 1: leave the best k in order
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> users: array<vec4<f32>>;       // panels
@group(0) @binding(2) var<storage, read> items: array<vec4<f32>>;       // panels, up to a multiple of ITEMS
@group(0) @binding(3) var<storage, read> exclude_ptr: array<u32>;       // [users + 1]
@group(0) @binding(4) var<storage, read> exclude: array<u32>;           // ids, ascending per user
// (key, id): [users, CAPACITY] candidates, then [users, k] lists, best first.
@group(0) @binding(5) var<storage, read_write> lists: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> lengths: array<u32>;     // [users]

const USERS: u32 = 64u;
const DEEP: u32 = 8u;
const LEFT: u32 = 128u;              // DEEP · USERS / 4
override ITEMS: u32 = 256u;          // and threads: 8 rows of ITEMS / 8
override RIGHT: u32 = 512u;          // DEEP · ITEMS / 4
override CAPACITY: u32 = 512u;       // a power of two, at least k + ITEMS
override SORTED: u32 = 1u;           // lists that are sorted at a time, a power of two
override SLOTS: u32 = 512u;          // SORTED · CAPACITY

var<workgroup> left: array<vec4<f32>, LEFT>;   // [DEEP, USERS / 4]
var<workgroup> right: array<vec4<f32>, RIGHT>; // [DEEP, ITEMS / 4]
var<workgroup> keys: array<u32, SLOTS>;
var<workgroup> ids: array<u32, SLOTS>;
var<workgroup> filled: array<atomic<u32>, USERS>;
var<workgroup> threshold: array<u32, USERS>;   // keys must be greater
var<workgroup> limit: array<f32, USERS>;       // the score of the threshold
var<workgroup> crowding: atomic<u32>;          // 1: a list may not have room for all of the next items
var<workgroup> crowded: u32;

// Ascending with the score; 0 for what can never be listed.
fn key_of(score: f32) -> u32 {
    let bits = bitcast<u32>(score);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return 0u;
    }
    if bits == 0x80000000u || bits == 0u {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn score_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

fn raise(user: u32, key: u32) {
    threshold[user] = key;
    limit[user] = score_of(key);
}

fn is_excluded(user: u32, id: u32) -> bool {
    var low = exclude_ptr[user];
    var high = exclude_ptr[user + 1u];
    let end = high;
    while low < high {
        let middle = low + (high - low) / 2u;
        if exclude[middle] < id {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low < end && exclude[low] == id;
}

// Takes what belongs in a user's list of four items' scores.
fn offer(first_user: u32, user: u32, item: u32, scores: vec4<f32>) {
    // Nearly always nothing. Keys decide: they know NaN, and numbers so small that comparisons take them for 0.
    if !any(scores >= vec4<f32>(limit[user])) {
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        let key = key_of(scores[i]);
        let id = params.id_offset + item + i;
        if key > threshold[user] && item + i < params.end_item && !is_excluded(first_user + user, id) {
            let slot = atomicAdd(&filled[user], 1u);
            lists[(first_user + user) * CAPACITY + slot] = vec2<u32>(key, id);
            if slot + 1u + ITEMS > CAPACITY {
                atomicStore(&crowding, 1u);
            }
        }
    }
}

fn offer_all(first_user: u32, user: u32, item: u32, scores: mat4x4<f32>) {
    offer(first_user, user, item, scores[0]);
    offer(first_user, user + 1u, item, scores[1]);
    offer(first_user, user + 2u, item, scores[2]);
    offer(first_user, user + 3u, item, scores[3]);
}

// Adds a product to the scores of four users, a column each, at four items.
fn accumulate(scores: mat4x4<f32>, users: vec4<f32>, items: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4<f32>(users.x), items, scores[0]),
        fma(vec4<f32>(users.y), items, scores[1]),
        fma(vec4<f32>(users.z), items, scores[2]),
        fma(vec4<f32>(users.w), items, scores[3]),
    );
}

// Whether the entry in slot a comes after the one in slot b.
fn is_after(a: u32, b: u32) -> bool {
    return keys[a] < keys[b] || (keys[a] == keys[b] && ids[a] > ids[b]);
}

// Bitonic sort of every list (key descending, id ascending), of which the best k stay or, at the end, are handed over.
fn compact(thread: u32, first_user: u32, ends: bool) {
    storageBarrier();
    workgroupBarrier();
    for (var base = 0u; base < USERS; base += SORTED) {
        for (var slot = thread; slot < SLOTS; slot += ITEMS) {
            let user = base + slot / CAPACITY;
            let rank = slot % CAPACITY;
            var entry = vec2<u32>(0u, 0xffffffffu);
            if rank < atomicLoad(&filled[user]) {
                entry = lists[(first_user + user) * CAPACITY + rank];
            }
            keys[slot] = entry.x;
            ids[slot] = entry.y;
        }
        workgroupBarrier();
        for (var size = 2u; size <= CAPACITY; size *= 2u) {
            for (var stride = size / 2u; stride > 0u; stride /= 2u) {
                for (var pair = thread; pair < SLOTS / 2u; pair += ITEMS) {
                    let low = 2u * stride * (pair / stride) + pair % stride;
                    let high = low + stride;
                    let best_first = (low & size) == 0u || size == CAPACITY;
                    if select(is_after(high, low), is_after(low, high), best_first) {
                        let key = keys[low];
                        let id = ids[low];
                        keys[low] = keys[high];
                        ids[low] = ids[high];
                        keys[high] = key;
                        ids[high] = id;
                    }
                }
                workgroupBarrier();
            }
        }
        for (var slot = thread; slot < SLOTS; slot += ITEMS) {
            let user = base + slot / CAPACITY;
            let rank = slot % CAPACITY;
            if rank < min(atomicLoad(&filled[user]), params.k) {
                var at = (first_user + user) * CAPACITY + rank;
                if ends {
                    at = params.users * CAPACITY + (first_user + user) * params.k + rank;
                }
                lists[at] = vec2<u32>(keys[slot], ids[slot]);
            }
        }
        workgroupBarrier();
        if thread < SORTED {
            let user = base + thread;
            let count = min(atomicLoad(&filled[user]), params.k);
            atomicStore(&filled[user], count);
            if count == params.k {
                raise(user, max(threshold[user], keys[thread * CAPACITY + count - 1u]));
            }
        }
        workgroupBarrier();
    }
    if thread == 0u {
        atomicStore(&crowding, 0u);
    }
    storageBarrier();
    workgroupBarrier();
}

@compute @workgroup_size(ITEMS)
fn score(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_user = group.x * USERS;
    if thread < USERS {
        let user = first_user + thread;
        var count = 0u;
        // Nothing is above the threshold of a user who only fills the panel.
        var key = 0xffffffffu;
        if user < params.users {
            key = params.floor_key;
            if params.fresh == 0u {
                count = lengths[user];
                key = lengths[params.users + user];
            }
        }
        atomicStore(&filled[thread], count);
        raise(thread, key);
    }
    if thread == 0u {
        atomicStore(&crowding, 0u);
    }

    let columns = ITEMS / 8u;
    let row = thread / columns;
    let column = thread % columns;
    for (var tile = params.first_item; tile < params.end_item; tile += ITEMS) {
        // Users 8·row and 4 more on, items 4·column and ITEMS / 2 more on.
        var near_near = mat4x4<f32>();
        var near_far = mat4x4<f32>();
        var far_near = mat4x4<f32>();
        var far_far = mat4x4<f32>();
        for (var base = 0u; base < params.depth; base += DEEP) {
            workgroupBarrier();
            for (var at = thread; at < LEFT; at += ITEMS) {
                left[at] = users[(group.x * params.depth + base) * 16u + at];
            }
            for (var at = thread; at < RIGHT; at += ITEMS) {
                let panel = at / LEFT;
                let within = at % LEFT;
                right[(within / 16u) * (ITEMS / 4u) + panel * 16u + within % 16u] =
                    items[((tile / 64u + panel) * params.depth + base) * 16u + within];
            }
            workgroupBarrier();
            for (var d = 0u; d < DEEP; d++) {
                let near_users = left[d * 16u + 2u * row];
                let far_users = left[d * 16u + 2u * row + 1u];
                let near_items = right[d * (ITEMS / 4u) + column];
                let far_items = right[d * (ITEMS / 4u) + columns + column];
                near_near = accumulate(near_near, near_users, near_items);
                near_far = accumulate(near_far, near_users, far_items);
                far_near = accumulate(far_near, far_users, near_items);
                far_far = accumulate(far_far, far_users, far_items);
            }
        }
        let near_item = tile + 4u * column;
        let far_item = near_item + ITEMS / 2u;
        offer_all(first_user, 8u * row, near_item, near_near);
        offer_all(first_user, 8u * row, far_item, near_far);
        offer_all(first_user, 8u * row + 4u, near_item, far_near);
        offer_all(first_user, 8u * row + 4u, far_item, far_far);
        workgroupBarrier();
        if thread == 0u {
            crowded = atomicLoad(&crowding);
        }
        if workgroupUniformLoad(&crowded) == 1u {
            compact(thread, first_user, false);
        }
    }

    if params.last == 1u {
        compact(thread, first_user, true);
    }
    if thread < USERS && first_user + thread < params.users {
        lengths[first_user + thread] = atomicLoad(&filled[thread]);
        lengths[params.users + first_user + thread] = threshold[thread];
    }
}
