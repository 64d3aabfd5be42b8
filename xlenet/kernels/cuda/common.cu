// What every source here begins with. REAL is float or double, by -DREAL=...
//
// Images lie in memory as (C, H, W, N), matrices (N, K) as (K, N): the lanes of a warp are neighbours in the batch, and
// read neighbouring numbers. No array has more than 2^31 - 2^20 elements (the host sees to it), so an int is enough to
// index one. Sums are made in an order that depends on sizes alone: the same arguments give the same bits.

#define ALL_LANES 0xffffffffu

__device__ __forceinline__ int lane_number() { return threadIdx.x % 32; }
__device__ __forceinline__ int warp_number() { return threadIdx.x / 32; }

template <class T> __device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int by = 16; by > 0; by /= 2) value += __shfl_xor_sync(ALL_LANES, value, by);
    return value;
}

// The sum over all threads of a block, in every thread. `scratch` holds 32 numbers; it may be used again at once.
template <class T> __device__ __forceinline__ T block_sum(T value, T *scratch) {
    value = warp_sum(value);
    __syncthreads();  // somebody may still be reading the last sum
    if (lane_number() == 0) scratch[warp_number()] = value;
    __syncthreads();
    return warp_sum(lane_number() < (int)blockDim.x / 32 ? scratch[lane_number()] : T(0));
}

__device__ __forceinline__ int rounded_up(int a, int b) { return (a + b - 1) / b; }
__device__ __forceinline__ bool is_nan(REAL x) { return x != x; }
