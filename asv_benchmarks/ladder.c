/* The lowest rungs of the speed ladder: AdamW on a multi-layer perceptron as one writes it from
   the formulas. Float64, scalar, one sample after the other; the weights change after every
   `batch` samples, 1 for the first rung. Compiled without vectorisation.

   Layer l holds W (out, in) row by row, then the bias (out); layers lie one after the other. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 8 };

static double sample(const int *size, int n, const double *x, double target, const double *weight,
                     double *gradient, double **act, double **delta)
{
    long at[MAX_LAYERS], next = 0;
    memcpy(act[0], x, (size_t)size[0] * sizeof(double));
    for (int l = 1; l < n; l++) {
        const double *w = weight + next, *b = w + (long)size[l] * size[l - 1];
        at[l] = next;
        next += (long)size[l] * size[l - 1] + size[l];
        for (int j = 0; j < size[l]; j++) {
            double sum = b[j];
            for (int i = 0; i < size[l - 1]; i++) sum += w[(long)j * size[l - 1] + i] * act[l - 1][i];
            act[l][j] = l < n - 1 && sum < 0.0 ? 0.0 : sum;
        }
    }
    double error = act[n - 1][0] - target;
    delta[n - 1][0] = 2.0 * error;
    for (int l = n - 1; l > 0; l--) {
        const double *w = weight + at[l];
        double *gw = gradient + at[l], *gb = gw + (long)size[l] * size[l - 1];
        for (int j = 0; j < size[l]; j++) {
            gb[j] += delta[l][j];
            for (int i = 0; i < size[l - 1]; i++)
                gw[(long)j * size[l - 1] + i] += delta[l][j] * act[l - 1][i];
        }
        if (l == 1) break;
        memset(delta[l - 1], 0, (size_t)size[l - 1] * sizeof(double));
        for (int j = 0; j < size[l]; j++)
            for (int i = 0; i < size[l - 1]; i++)
                delta[l - 1][i] += w[(long)j * size[l - 1] + i] * delta[l][j];
        for (int i = 0; i < size[l - 1]; i++)
            if (act[l - 1][i] <= 0.0) delta[l - 1][i] = 0.0;
    }
    return error * error;
}

/* One pass over index[0 .. count); state holds gradient, first and second moment. Biases are not
   decayed. Returns the mean loss. */
double train(const int *size, int n, const double *X, const double *y, const int64_t *index,
             int count, int batch, double *weight, double *state, int64_t *t, const double *hyper)
{
    double *act[MAX_LAYERS], *delta[MAX_LAYERS], total = 0.0;
    long n_weights = 0;
    for (int l = 0; l < n; l++) {
        act[l] = malloc((size_t)size[l] * sizeof(double));
        delta[l] = malloc((size_t)size[l] * sizeof(double));
        if (l > 0) n_weights += (long)size[l] * size[l - 1] + size[l];
    }
    double *g = state, *m = g + n_weights, *v = m + n_weights;
    const double rate = hyper[0], beta1 = hyper[1], beta2 = hyper[2], eps = hyper[3];
    const double weight_decay = hyper[4], clip_norm = hyper[5];
    for (int begin = 0; begin + batch <= count; begin += batch) {
        memset(g, 0, (size_t)n_weights * sizeof(double));
        for (int r = begin; r < begin + batch; r++)
            total += sample(size, n, X + index[r] * size[0], y[index[r]], weight, g, act, delta);
        double squares = 0.0;
        for (long i = 0; i < n_weights; i++) squares += g[i] * g[i];
        double norm = sqrt(squares) / batch;
        double factor = fmin(1.0, clip_norm / (norm + 1e-6)) / batch;
        *t += 1;
        double size1 = rate / (1.0 - pow(beta1, (double)*t));
        double scale2 = sqrt(1.0 - pow(beta2, (double)*t));
        long k = 0;
        for (int l = 1; l < n; l++) {
            long matrix = k + (long)size[l] * size[l - 1], end = matrix + size[l];
            for (; k < end; k++) {
                double gradient = factor * g[k];
                m[k] = beta1 * m[k] + (1.0 - beta1) * gradient;
                v[k] = beta2 * v[k] + (1.0 - beta2) * gradient * gradient;
                if (k < matrix) weight[k] *= 1.0 - rate * weight_decay;
                weight[k] -= size1 * m[k] / (sqrt(v[k]) / scale2 + eps);
            }
        }
    }
    for (int l = 0; l < n; l++) {
        free(act[l]);
        free(delta[l]);
    }
    return total / count;
}
