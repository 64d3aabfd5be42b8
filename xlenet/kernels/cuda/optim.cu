// Optimiser steps over all parameters at once; the first `decayed` of them decay. What changes from step to step (the
// learning rate) is read from the device where `from_device` says so, as in a CUDA graph, else passed by value.

#define THREADS 256

extern "C" __global__ void __launch_bounds__(THREADS) sgd_update(
    REAL *__restrict__ params, REAL *__restrict__ velocity, const REAL *__restrict__ grads,
    const REAL *__restrict__ scalars, int from_device, REAL lr, REAL momentum, int nesterov, REAL weight_decay,
    int decayed, int size) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= size) return;
    if (from_device) lr = scalars[0];
    REAL gradient = grads[i];
    if (i < decayed) gradient += weight_decay * params[i];
    const REAL moved = velocity[i] * momentum + gradient;
    velocity[i] = moved;
    params[i] -= lr * (nesterov ? gradient + momentum * moved : moved);
}

// step: lr / (1 - beta1^t); root_scale: 1 / sqrt(1 - beta2^t).
extern "C" __global__ void __launch_bounds__(THREADS) adam_update(
    REAL *__restrict__ params, REAL *__restrict__ means, REAL *__restrict__ squares, const REAL *__restrict__ grads,
    const REAL *__restrict__ scalars, int from_device, REAL step, REAL root_scale, REAL lr, REAL beta1, REAL rest1,
    REAL beta2, REAL rest2, REAL eps, REAL weight_decay, int decayed, int decoupled, int size) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= size) return;
    if (from_device) {
        step = scalars[0];
        root_scale = scalars[1];
        lr = scalars[2];
    }
    REAL gradient = grads[i], param = params[i];
    if (i < decayed && decoupled) param *= 1 - lr * weight_decay;
    if (i < decayed && !decoupled) gradient += weight_decay * param;
    const REAL mean = beta1 * means[i] + rest1 * gradient, square = beta2 * squares[i] + rest2 * gradient * gradient;
    means[i] = mean;
    squares[i] = square;
    params[i] = param - step * mean / (sqrt(square) * root_scale + eps);
}
