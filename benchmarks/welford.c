/* Running mean and variance in floating point: B. P. Welford, Technometrics 4 (1962), 419-420. */
#include <stddef.h>

#ifdef _WIN32
__declspec(dllexport)
#endif
void welford(const double *x, ptrdiff_t n, double *result) {
    double mean = 0.0, m2 = 0.0;
    for (ptrdiff_t i = 0; i < n; i++) {
        double delta = x[i] - mean;
        mean += delta / (double)(i + 1);
        m2 += delta * (x[i] - mean);
    }
    result[0] = mean;
    result[1] = m2 / (double)(n - 1);
}
