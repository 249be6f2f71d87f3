// The best k items of a few users against a span of items: score, threshold and select in one pass; scores are
// never written. A workgroup serves USERS users, a thread scores one item for all of them.
//
// Roofline: 2·users·items·dim flops over 4·items·dim bytes per USERS users: bound by arithmetic once items come from
// cache. Items lie quad-major, [quads, chunk_items], so that neighbouring threads read neighbouring vec4s.
//
// Lists hold an order-preserving integer image of the score, so sorting is exact and NaN is told apart by its bits.
// Slots are handed out by an integer atomic; the order of a full list comes from sorting alone, so it is the same in
// every run. A list is cut down to its best k before it could overflow.

struct Params {
    users: u32,
    chunk_items: u32,  // items in `items`
    first_item: u32,   // span scored by this dispatch: [first_item, end_item)
    end_item: u32,
    id_offset: u32,    // id of the chunk's first item
    k: u32,
    floor_key: u32,    // keys must be greater
    fresh: u32,        // 1: start from empty lists
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> users: array<vec4<f32>>;       // [users, QUADS]
@group(0) @binding(2) var<storage, read> items: array<vec4<f32>>;       // [QUADS, chunk_items]
@group(0) @binding(3) var<storage, read> exclude_ptr: array<u32>;       // [users + 1]
@group(0) @binding(4) var<storage, read> exclude: array<u32>;           // ids, ascending per user
@group(0) @binding(5) var<storage, read_write> lists: array<vec2<u32>>; // [users, k] (key, id), best first
@group(0) @binding(6) var<storage, read_write> lengths: array<u32>;     // [users]

override QUADS: u32 = 16u;
override USERS: u32 = 4u;
override THREADS: u32 = 64u;
override CAPACITY: u32 = 256u;       // a power of two, at least k + THREADS
override SLOTS: u32 = 1024u;         // USERS · CAPACITY
const MAX_USERS: u32 = 4u;

var<workgroup> keys: array<u32, SLOTS>;
var<workgroup> ids: array<u32, SLOTS>;
var<workgroup> filled: array<atomic<u32>, MAX_USERS>;
var<workgroup> threshold: array<u32, MAX_USERS>;
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

// Whether the entry in slot a comes after the one in slot b.
fn is_after(a: u32, b: u32) -> bool {
    return keys[a] < keys[b] || (keys[a] == keys[b] && ids[a] > ids[b]);
}

// Bitonic sort of every list (key descending, id ascending), then the best k stay.
fn compact(thread: u32) {
    for (var slot = thread; slot < SLOTS; slot += THREADS) {
        if slot % CAPACITY >= atomicLoad(&filled[slot / CAPACITY]) {
            keys[slot] = 0u;
            ids[slot] = 0xffffffffu;
        }
    }
    workgroupBarrier();
    for (var size = 2u; size <= CAPACITY; size *= 2u) {
        for (var stride = size / 2u; stride > 0u; stride /= 2u) {
            for (var pair = thread; pair < SLOTS / 2u; pair += THREADS) {
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
    if thread < USERS {
        let count = min(atomicLoad(&filled[thread]), params.k);
        atomicStore(&filled[thread], count);
        if count == params.k {
            threshold[thread] = max(threshold[thread], keys[thread * CAPACITY + count - 1u]);
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn score(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_user = group.x * USERS;
    if thread < USERS {
        let user = first_user + thread;
        var count = 0u;
        if user < params.users && params.fresh == 0u {
            count = lengths[user];
        }
        for (var i = 0u; i < count; i++) {
            let entry = lists[user * params.k + i];
            keys[thread * CAPACITY + i] = entry.x;
            ids[thread * CAPACITY + i] = entry.y;
        }
        atomicStore(&filled[thread], count);
        threshold[thread] = params.floor_key;
        if count == params.k {
            threshold[thread] = max(params.floor_key, keys[thread * CAPACITY + count - 1u]);
        }
    }
    workgroupBarrier();

    for (var base = params.first_item; base < params.end_item; base += THREADS) {
        let item = base + thread;
        var scores: array<vec4<f32>, MAX_USERS>;
        if item < params.end_item {
            for (var q = 0u; q < QUADS; q++) {
                let y = items[q * params.chunk_items + item];
                for (var u = 0u; u < USERS; u++) {
                    // Users beyond the last are scored as the last and dropped below.
                    let user = min(first_user + u, params.users - 1u);
                    scores[u] = fma(users[user * QUADS + q], y, scores[u]);
                }
            }
        }
        if thread == 0u {
            crowded = 0u;
            for (var u = 0u; u < USERS; u++) {
                if atomicLoad(&filled[u]) + THREADS > CAPACITY {
                    crowded = 1u;
                }
            }
        }
        workgroupBarrier();
        if workgroupUniformLoad(&crowded) == 1u {
            compact(thread);
        }
        if item < params.end_item {
            let id = params.id_offset + item;
            for (var u = 0u; u < USERS; u++) {
                let user = first_user + u;
                let s = scores[u];
                let key = key_of((s.x + s.z) + (s.y + s.w));
                if user < params.users && key > threshold[u] && !is_excluded(user, id) {
                    let slot = u * CAPACITY + atomicAdd(&filled[u], 1u);
                    keys[slot] = key;
                    ids[slot] = id;
                }
            }
        }
        workgroupBarrier();
    }

    compact(thread);
    for (var slot = thread; slot < SLOTS; slot += THREADS) {
        let user = first_user + slot / CAPACITY;
        let rank = slot % CAPACITY;
        if user < params.users && rank < atomicLoad(&filled[slot / CAPACITY]) {
            lists[user * params.k + rank] = vec2<u32>(keys[slot], ids[slot]);
        }
    }
    if thread < USERS && first_user + thread < params.users {
        lengths[first_user + thread] = atomicLoad(&filled[thread]);
    }
}
