// What feeds a training step without the host: which images are next, and their pixels as normalised numbers.

#define THREADS 256
#define IMAGES 32  // a block's tile
#define PIXELS 32
#define STEP (PIXELS + 4)  // bytes; a bank further from row to row, so that a column is read without conflicts

// out (SIZE, N), SIZE = C * H * W, from the images `which` of pixels (TOTAL, SIZE): turned round in shared memory, so
// that both sides are read and written in runs.
extern "C" __global__ void __launch_bounds__(THREADS) gather(
    const unsigned char *__restrict__ pixels, const long long *__restrict__ which, const REAL *__restrict__ scale,
    const REAL *__restrict__ shift, REAL *__restrict__ out, int N, int SIZE, int AREA) {
    __shared__ unsigned char tile[IMAGES * STEP];
    const int tiles = rounded_up(N, IMAGES);
    const int n0 = blockIdx.x % tiles * IMAGES, p0 = blockIdx.x / tiles * PIXELS;
    for (int i = warp_number(); i < IMAGES; i += THREADS / 32)
        if (n0 + i < N && p0 + lane_number() < SIZE)
            tile[i * STEP + lane_number()] = pixels[which[n0 + i] * SIZE + p0 + lane_number()];
    __syncthreads();
    const int n = n0 + lane_number();
    for (int i = warp_number(); i < PIXELS; i += THREADS / 32) {
        const int p = p0 + i;
        if (n < N && p < SIZE)
            out[p * N + n] = tile[lane_number() * STEP + i] * scale[p / AREA] + shift[p / AREA];
    }
}

// The next step's positions and scalars, and on. One block. Past the end of the tables nothing changes.
extern "C" __global__ void __launch_bounds__(1024) advance(
    long long *counter, const long long *__restrict__ order, const double *__restrict__ table,
    long long *__restrict__ positions, REAL *__restrict__ scalars, int B, int COUNT, int STEPS, int WIDTH) {
    const long long step = counter[0];
    __syncthreads();  // everyone has read it
    for (int i = threadIdx.x; i < B; i += blockDim.x)
        if (step * B + i < COUNT) positions[i] = order[step * B + i];
    for (int k = threadIdx.x; k < WIDTH; k += blockDim.x)
        if (step < STEPS) scalars[k] = (REAL)table[step * WIDTH + k];
    if (threadIdx.x == 0) counter[0] = step + 1;
}
