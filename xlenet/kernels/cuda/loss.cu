// The loss with its gradient, and what the training loop adds up of it. logits (K, N) in memory. One block each.

// loss = mean over n of (log sum_k exp(z_k) - z_label), dlogits = (softmax(z) - one_hot(label)) / N.
extern "C" __global__ void __launch_bounds__(1024) softmax_cross_entropy(
    const REAL *__restrict__ logits, const long long *__restrict__ labels, REAL *__restrict__ loss,
    REAL *__restrict__ dlogits, int N, int K) {
    __shared__ REAL scratch[32];
    const REAL share = REAL(1) / N;
    REAL losses = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
        const int label = (int)labels[n];
        REAL top = logits[n], sum = 0, right = 0;
        for (int k = 1; k < K; k++) {
            const REAL value = logits[k * N + n];
            top = value > top || is_nan(value) ? value : top;
        }
        for (int k = 0; k < K; k++) {
            const REAL shifted = logits[k * N + n] - top, power = exp(shifted);
            sum += power;
            if (k == label) right = shifted;
            dlogits[k * N + n] = power;
        }
        losses += log(sum) - right;
        for (int k = 0; k < K; k++) dlogits[k * N + n] = (dlogits[k * N + n] / sum - (k == label)) * share;
    }
    losses = block_sum(losses, scratch);
    if (threadIdx.x == 0) loss[0] = losses * share;
}

// sums: loss, right answers, steps before the first whose loss was not finite. The answer is the first largest score,
// as argmax has it: NaN is larger than everything.
extern "C" __global__ void __launch_bounds__(1024) tally(
    double *__restrict__ sums, const REAL *__restrict__ loss, const REAL *__restrict__ logits,
    const long long *__restrict__ labels, int N, int K) {
    __shared__ int scratch[32];
    int right = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
        REAL top = logits[n];
        int answer = 0;
        for (int k = 1; k < K && !is_nan(top); k++) {
            const REAL value = logits[k * N + n];
            if (value > top || is_nan(value)) {
                top = value;
                answer = k;
            }
        }
        right += answer == labels[n];
    }
    right = block_sum(right, scratch);
    if (threadIdx.x != 0) return;
    const double total = sums[0] + (double)loss[0] * N;
    sums[0] = total;
    sums[1] += right;
    sums[2] += total - total == 0;  // false for what is infinite or NaN
}
