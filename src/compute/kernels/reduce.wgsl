// Part of kernels that add up over a workgroup: they say how many THREADS, a power of two, add up what `Sum` is.

var<workgroup> partial: array<Sum, THREADS>;

// Sum of one value per thread, by halves; the same in every thread.
fn reduce(thread: u32, value: Sum) -> Sum {
    workgroupBarrier();
    partial[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            partial[thread] += partial[thread + half];
        }
        workgroupBarrier();
    }
    return partial[0];
}

